/**
 * The fourteen robustness checks of the first founding system.
 */
import { expect } from "vitest";
import { spread } from "../../support/conformance/battery.ts";
import type { Caller } from "../../support/conformance/caller.ts";
import { fresh, picture, type Suite, submit } from "./suite.ts";

function generate(call: Caller, body: unknown, signal?: AbortSignal) {
  return call("POST", "/api/v1/generate/", signal === undefined ? { body } : { body, signal });
}

export function healthChecks({ open, check }: Suite): void {
  check("Health Checks", "liveness", async () => {
    const { status, body } = await open("GET", "/healthz");
    expect({ status, body }).toEqual({ status: 200, body: { status: "alive" } });
    return { status };
  });
  check("Health Checks", "readiness", async () => {
    const { status, body } = await open("GET", "/readyz");
    expect([200, 503]).toContain(status);
    return { status, readiness: body.status };
  });
  check("Health Checks", "full_health", async () => {
    const { status, body } = await open("GET", "/health");
    expect(status).toBe(200);
    expect(body).toHaveProperty("comfyui_status");
    return { status, comfyui_status: body.comfyui_status };
  });
}

export function inputChecks({ call, check }: Suite): void {
  for (const [name, body] of [
    ["rejects_empty_payload", {}],
    ["rejects_dimensions_not_divisible_by_8", { prompt: "test", width: 513, height: 513 }],
    ["rejects_negative_steps", { prompt: "test", steps: -10 }],
    ["rejects_oversized_dimensions", { prompt: "test", width: 10_000, height: 10_000 }],
    ["rejects_prompt_that_is_no_string", { prompt: 12_345 }],
  ] as const)
    check("Invalid Input Handling", name, async () => {
      const answer = await generate(call, body);
      expect(answer.status).toBe(422);
      return { status: answer.status, error: answer.body.error };
    });
}

export function repeatChecks({ call, check, note }: Suite): void {
  check("Concurrent Requests", "five_concurrent_submits", async () => {
    const startedMs = performance.now();
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, i) =>
        call("POST", "/api/v1/jobs", {
          body: picture({ prompt: "A simple test image" }),
          headers: { "Idempotency-Key": fresh(`concurrent-test-${i}`) },
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    expect(new Set(answers.map(({ body }) => body.job_id)).size).toBe(5);
    const ms = spread(answers.map((answer) => answer.ms));
    note("five_submits", { total_ms: Math.round(performance.now() - startedMs), ...ms });
    return ms;
  });

  const key = fresh("idempotency-test");
  let kept = "";
  check("Idempotency", "same_key_same_job", async () => {
    const headers = { "Idempotency-Key": key };
    kept = await submit(call, { prompt: "Idempotency test" }, headers);
    const { status, body } = await call("POST", "/api/v1/jobs", {
      body: picture({ prompt: "Idempotency test" }),
      headers,
    });
    expect({ status, job_id: body.job_id }).toEqual({ status: 200, job_id: kept });
    return { job_id: kept };
  });
  check("Idempotency", "other_key_other_job", async () => {
    const other = await submit(call, { prompt: "Idempotency test" }, { "Idempotency-Key": `${key}-different` });
    expect(other).not.toBe(kept);
    return { job_id: other };
  });
}

export function recoveryChecks({ call, open, check }: Suite): void {
  check("Error Recovery", "recovers_after_invalid_request", async () => {
    const bad = await generate(call, { invalid: "data" });
    const good = await generate(call, picture({ prompt: "Recovery test" }));
    expect([bad.status, good.status]).toEqual([422, 201]);
    expect(good.body).toMatchObject({ status: "succeeded" });
    return { bad: bad.status, good: good.status, ms: Math.round(good.ms) };
  });
  check("Error Recovery", "health_after_errors", async () => {
    const { status } = await open("GET", "/health");
    expect(status).toBe(200);
    return { status };
  });

  check("Timeout Handling", "client_timeout", async () => {
    const startedMs = performance.now();
    const asked = generate(call, picture({ prompt: "Timeout test", steps: 150 }), AbortSignal.timeout(100));
    await expect(asked).rejects.toThrow(/timeout/i);
    const after = Math.round(performance.now() - startedMs);
    expect((await open("GET", "/health")).status).toBe(200);
    expect((await generate(call, picture({ prompt: "After the timeout" }))).status).toBe(201);
    return { client_gave_up_after_ms: after };
  });
}
