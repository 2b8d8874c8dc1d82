/**
 * The nine groups of the first founding system's integration suite. Where it skipped or let pass, this asserts.
 */
import { expect } from "vitest";
import { caller, pollJob } from "../../support/conformance/caller.ts";
import { fresh, isOver, picture, type Suite, submit } from "./suite.ts";

/** `timestamps`, checked to be in order. */
function ordered(job: Record<string, unknown>) {
  const { queued_at, started_at, finished_at } = job.timestamps as Record<string, string>;
  expect(queued_at).toMatch(/Z$/);
  expect([queued_at, started_at, finished_at]).toEqual([queued_at, started_at, finished_at].sort());
  return { queued_at, started_at, finished_at };
}

export function jobChecks({ call, check, keep }: Suite): void {
  check("HappyPath", "submit_and_complete_job", async () => {
    const receipt = await call("POST", "/api/v1/jobs", { body: picture() });
    expect(receipt.status).toBe(202);
    expect(receipt.headers.get("X-Request-ID")).toBeTruthy();
    const path = `/api/v1/jobs/${String(receipt.body.job_id)}`;
    expect(receipt.headers.get("Location")).toBe(path);
    const job = await pollJob(call, path, isOver);
    expect(job).toMatchObject({ status: "succeeded", progress: 1 });
    const { artifacts } = job.result as { artifacts: { url: string }[] };
    expect(artifacts.length).toBeGreaterThan(0);
    const url = artifacts[0]?.url ?? "";
    const answer = await fetch(url);
    expect(answer.status).toBe(200);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    expect(bytes.length).toBeGreaterThan(0);
    return { job_id: job.job_id, ...ordered(job), bytes: bytes.length, file: keep("founding-a.png", bytes) };
  });

  check("Cancellation", "cancel_queued_job", async () => {
    const path = `/api/v1/jobs/${await submit(call, { prompt: "Cancel me", steps: 150 })}`;
    const answer = await call("DELETE", path);
    expect(answer.status).toBe(202);
    expect(["canceled", "canceling"]).toContain(answer.body.status);
    const job = await pollJob(call, path, isOver, 10_000);
    expect(job.status).toBe("canceled");
    return { answered: answer.body.status, ended: job.status };
  });

  check("Timestamps", "job_timestamps_monotonic", async () => {
    const path = `/api/v1/jobs/${await submit(call, { prompt: "Timestamp test" })}`;
    const job = await pollJob(call, path, isOver);
    expect(job.status).toBe("succeeded");
    return ordered(job);
  });
}

export function bodyChecks({ call, check }: Suite): void {
  check("Idempotency", "duplicate_requests_same_job", async () => {
    const headers = { "Idempotency-Key": fresh("test-key") };
    const first = await submit(call, { prompt: "Idempotency test" }, headers);
    const again = await call("POST", "/api/v1/jobs", { body: picture({ prompt: "Idempotency test" }), headers });
    expect(again.status).toBe(200);
    expect(again.body.job_id).toBe(first);
    return { job_id: first, second_status: again.status };
  });

  check("Idempotency", "different_keys_different_jobs", async () => {
    const first = await submit(call, { prompt: "Test 1" }, { "Idempotency-Key": fresh("key1") });
    const second = await submit(call, { prompt: "Test 2" }, { "Idempotency-Key": fresh("key2") });
    expect(first).not.toBe(second);
    return { first, second };
  });

  check("FailurePath", "validation_error", async () => {
    const { status, body } = await call("POST", "/api/v1/jobs", { body: { prompt: "Test", width: -100, height: 512 } });
    expect(status).toBe(422);
    expect(body.error).toMatchObject({ code: "VALIDATION_ERROR", details: { field: "width", limit: 64 } });
    return { status, error: body.error };
  });
}

export function limitChecks({ call, admin, target, check }: Suite): void {
  check("RateLimiting", "rate_limit_headers_present", async () => {
    const { status, headers } = await call("GET", "/health");
    expect(status).toBe(200);
    const [limit, remaining, reset] = ["Limit", "Remaining", "Reset"].map((name) => headers.get(`X-RateLimit-${name}`));
    expect(Number(limit)).toBeGreaterThan(0);
    expect(Number(remaining)).toBeGreaterThanOrEqual(0);
    expect(Number(reset)).toBeGreaterThanOrEqual(Math.floor(Date.now() / 1000));
    return { limit, remaining, reset };
  });

  check("RateLimiting", "rate_limit_429", async () => {
    const user = await admin("POST", "/admin/users", { body: { name: "conformance", role: "free" } });
    expect(user.status).toBe(201);
    const { user_id } = user.body;
    const key = await admin("POST", "/admin/api-keys", { body: { user_id, kind: "user", name: "conformance" } });
    expect(key.status).toBe(201);
    const hammer = caller(target().url, { Authorization: `Bearer ${String(key.body.key)}` });
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        hammer("POST", "/api/v1/jobs", { body: picture({ prompt: "Hammer", steps: 1 }) }),
      ),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([202, 202, 202, 202, 202, 429, 429, 429]);
    const refused = answers.find(({ status }) => status === 429);
    const retryAfter = Number(refused?.headers.get("Retry-After"));
    expect(retryAfter).toBeGreaterThanOrEqual(1);
    for (const { body } of answers) if (body.job_id) await hammer("DELETE", `/api/v1/jobs/${String(body.job_id)}`);
    if (process.env.LONG === "1") {
      await new Promise((resolve) => setTimeout(resolve, retryAfter * 1000));
      expect((await hammer("POST", "/api/v1/jobs", { body: picture({ steps: 1 }) })).status).toBe(202);
    }
    return { statuses, retry_after_s: retryAfter, error: refused?.body.error };
  });
}

export function surfaceChecks({ open, check }: Suite): void {
  check("RequestTracking", "request_id_header", async () => {
    const given = await open("GET", "/health", { headers: { "X-Request-ID": "conformance-1" } });
    expect(given.headers.get("X-Request-ID")).toBe("conformance-1");
    const made = (await open("GET", "/health")).headers.get("X-Request-ID");
    expect(made?.length).toBeGreaterThan(0);
    return { echoed: true, made };
  });

  check("HealthEndpoints", "health_endpoint", async () => {
    const { status, body } = await open("GET", "/health");
    expect(status).toBe(200);
    expect(["healthy", "degraded"]).toContain(body.status);
    return { status, health: body.status };
  });

  check("HealthEndpoints", "ping_endpoint", async () => {
    const { status, body } = await open("GET", "/ping");
    expect({ status, body }).toEqual({ status: 200, body: { ok: true } });
    return { status };
  });

  check("MetricsEndpoint", "metrics_endpoint", async () => {
    const { status, text } = await open("GET", "/metrics");
    expect(status).toBe(200);
    for (const part of ["# HELP", "# TYPE", "comfyui_"]) expect(text).toContain(part);
    return { series: text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length };
  });
}
