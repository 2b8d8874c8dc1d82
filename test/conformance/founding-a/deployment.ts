/**
 * The first founding system's list of what to look at after a deployment, as checks.
 */
import { expect } from "vitest";
import { caller, pollJob } from "../../support/conformance/caller.ts";
import { isOver, picture, type Suite } from "./suite.ts";

const GROUP = "After deployment";

export function deploymentChecks({ target, call, admin, open, check }: Suite): void {
  check(GROUP, "health_says_healthy", async () => {
    const { body } = await open("GET", "/health");
    expect(body).toMatchObject({ status: "healthy", comfyui_status: "connected" });
    return { status: body.status, agents: body.agents };
  });

  check(GROUP, "explorer_is_served", async () => {
    const { status, text } = await open("GET", "/docs");
    expect(status).toBe(200);
    expect(text).toMatch(/<title>[^<]*Comfy Edge[^<]*<\/title>/);
    return { status };
  });

  check(GROUP, "models_of_a_running_comfyui", async () => {
    const isThere = (body: Record<string, unknown>) =>
      (body.models as { name: string }[]).some(({ name }) => name === target().model);
    const { models } = await pollJob(call, "/models?kind=checkpoints", isThere, 40_000);
    return { checkpoints: models };
  });

  check(GROUP, "admin_makes_user_and_key_and_key_works", async () => {
    const user = await admin("POST", "/admin/users", { body: { name: "conformance", role: "pro" } });
    expect(user.status).toBe(201);
    const body = { user_id: user.body.user_id, kind: "user", name: "conformance" };
    const made = await admin("POST", "/admin/api-keys", { body });
    expect(made.status).toBe(201);
    const key = String(made.body.key);
    const listed = await admin("GET", `/admin/api-keys?user_id=${String(user.body.user_id)}`);
    expect(listed.text).not.toContain(key);
    const fresh = caller(target().url, { Authorization: `Bearer ${key}` });
    const receipt = await fresh("POST", "/api/v1/jobs", { body: picture() });
    expect(receipt.status).toBe(202);
    const job = await pollJob(fresh, `/api/v1/jobs/${String(receipt.body.job_id)}`, isOver);
    expect(job.status).toBe("succeeded");
    return { user: user.status, key: made.status, job: job.status };
  });

  check(GROUP, "invalid_key_is_refused", async () => {
    const { status, headers, body } = await caller(target().url, { Authorization: "Bearer junk" })(
      "GET",
      "/api/v1/jobs",
    );
    expect({ status, body }).toMatchObject({ status: 401, body: { error: { code: "UNAUTHORIZED" } } });
    expect(headers.get("WWW-Authenticate")).toContain("Bearer");
    return { status };
  });
}
