/**
 * Holds the agent API to CONTRACT 2, against real account and pool objects: what an agent sends and sees.
 */

import { listDurableObjectIds } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { settingsOf } from "../../src/platform/env.ts";
import { macsOf } from "../../src/platform/macs.ts";
import { claimGrantSchema, uploadsAnswerSchema } from "../../src/protocol/agent-api.ts";
import { mistyped } from "../support/mistyped.ts";
import { bindings, METRICS } from "./support/account.ts";
import { call, claimBody, claimed, entryOf, fileOf, lostLease, newAgent, signedRef } from "./support/agent.ts";
import { as, operator, person, send, submitted, unknownKey } from "./support/client.ts";

afterEach(() => vi.restoreAllMocks());

const RENEWAL = { phase: "executing", progress: 0.5, progress_detail: null };
const LOST = { refusal: "lease_lost" };

async function stateOf(key: string, job: string): Promise<string> {
  const view = await (await send(`/api/v1/jobs/${job}`, as(key))).json<{ status: string }>();
  return view.status;
}

describe("who may speak", () => {
  it("is told 426 with the accepted range for any other protocol version, before anything else", async () => {
    for (const version of ["", "2", "0", "x", "1.0"]) {
      const answer = await call("no token", "/claims", {}, { headers: { "X-Agent-Protocol": version } });
      expect(answer.status).toBe(426);
      expect(await answer.json()).toEqual({ error: "agent_protocol", min: 1, max: 1 });
    }
  });

  it("is nobody without a token of an agent: 401 each time, in the agent API's shape, and no object is woken", async () => {
    const user = await person();
    const agent = await newAgent();
    const before = await listDurableObjectIds(bindings.POOL);
    const forged = mistyped(agent.token);
    const elsewhere = unknownKey("agent", "00000000elsewhere".slice(-16));
    for (const token of ["junk", user.key, forged, elsewhere]) {
      const answer = await call(token, "/queue/pull", {});
      expect(answer.status).toBe(401);
      expect(await answer.json()).toEqual({ error: "unauthorized" });
    }
    expect((await listDurableObjectIds(bindings.POOL)).length).toBe(before.length);
  });

  it("is refused at once here when an operator revokes the agent", async () => {
    const agent = await newAgent();
    expect((await call(agent.token, "/leases/renew", RENEWAL)).status).toBe(200);
    const admin = await operator();
    const revoked = await send(`/admin/agents/${agent.agent}`, { ...as(admin.key), method: "DELETE" });
    expect(revoked.status).toBe(200);
    expect((await call(agent.token, "/leases/renew", RENEWAL)).status).toBe(401);
  });

  it("gets 404 in the agent API's shape for a path that does not exist", async () => {
    const agent = await newAgent();
    const answer = await call(agent.token, "/leases/steal", {});
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({ error: "not_found" });
  });

  it("is told which field is wrong, and that a body is too large", async () => {
    const agent = await newAgent();
    const wrong = await call(agent.token, "/claims", { ref: "r", claim_id: "short", slot: 0, ahead: false });
    expect(wrong.status).toBe(400);
    expect(await wrong.json()).toMatchObject({
      error: "bad_request",
      message: expect.stringMatching(/^Field claim_id:/),
    });
    expect((await call(agent.token, "/claims", "{")).status).toBe(400);
    expect((await call(agent.token, "/claims", "x".repeat(10_485_761))).status).toBe(413);
  });
});

describe("a claim", () => {
  it("returns the lease, the graph to the last digit and where to send progress, in the shape of CONTRACT", async () => {
    const user = await person();
    const agent = await newAgent();
    const graph = `{"1":{"class_type":"KSampler","inputs":{"seed":18446744073709551615}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0]}}}`;
    const sent = await send("/api/v1/jobs", {
      ...as(user.key, { "Content-Type": "application/json" }),
      method: "POST",
      body: `{"workflow":${graph}}`,
    });
    const { job_id } = await sent.json<{ job_id: string }>();
    const answer = await call(agent.token, "/claims", claimBody(signedRef(user.account, job_id)));
    expect(answer.status).toBe(200);
    const grant = claimGrantSchema.strict().parse(await answer.json());
    expect(grant).toMatchObject({ account: user.account, job: job_id, attempt: 1, inputs: [], renew_every_ms: 20_000 });
    expect(grant.workflow).toContain("18446744073709551615");
    expect(grant.progress_url).toBe("ws://127.0.0.1:8787/agent/v1/leases/progress");
    expect(macsOf(settingsOf(bindings)).verifyLease(grant.lease)).toMatchObject({ job: job_id, attempt: 1 });
    expect(await stateOf(user.key, job_id)).toBe("running");
  });

  it("names the grace of a broken progress socket only where it is not the 9 s agents count with", async () => {
    const user = await person();
    const agent = await newAgent();
    expect(await claimed(user, agent)).not.toHaveProperty("socket_grace_ms");
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    const body = claimBody(signedRef(user.account, job_id));
    const shorter = await call(agent.token, "/claims", body, { over: { LEASE_SOCKET_GRACE_MS: "500" } });
    expect(await shorter.json()).toMatchObject({ socket_grace_ms: 500 });
  });

  it("asked again with the same claim id returns the same attempt; another agent gets already_claimed", async () => {
    const user = await person();
    const [agent, other] = await Promise.all([newAgent(), newAgent()]);
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    const body = claimBody(signedRef(user.account, job_id));
    const first = claimGrantSchema.parse(await (await call(agent.token, "/claims", body)).json());
    const again = claimGrantSchema.parse(await (await call(agent.token, "/claims", body)).json());
    expect(again.lease).toBe(first.lease);
    const late = await call(other.token, "/claims", claimBody(body.ref));
    expect(late.status).toBe(409);
    expect(await late.json()).toEqual({ refusal: "already_claimed" });
  });

  it("is gone for a forged ref and for an attempt that is over, and wrong_pool for another pool's ref", async () => {
    const user = await person();
    const agent = await newAgent();
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    const ref = signedRef(user.account, job_id);
    const refusalOf = async (text: string) => {
      const answer = await call(agent.token, "/claims", claimBody(text));
      expect(answer.status).toBe(409);
      return (await answer.json<{ refusal: string }>()).refusal;
    };
    expect(await refusalOf(mistyped(ref))).toBe("gone");
    expect(await refusalOf(signedRef(user.account, job_id, 7))).toBe("gone");
    expect(await refusalOf(signedRef(user.account, job_id, 1, "other"))).toBe("wrong_pool");
    expect(await stateOf(user.key, job_id)).toBe("queued");
  });
});

describe("a lease", () => {
  it("is answered continue while it is the present one, and lost when it is forged, missing or nobody's", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease } = await claimed(user, agent);
    const present = await call(agent.token, "/leases/renew", RENEWAL, { lease });
    expect(await present.json()).toMatchObject({ answer: "continue", lease_expires_in_ms: expect.any(Number) });
    const forged = mistyped(lease);
    for (const other of [forged, "", lostLease()]) {
      const renewed = await call(agent.token, "/leases/renew", RENEWAL, { lease: other });
      expect(renewed.status).toBe(200);
      expect(await renewed.json()).toEqual({ answer: "lost", lease_expires_in_ms: 0 });
    }
  });

  it("that is not the present one is told lease_lost on every other call, and changes nothing", async () => {
    const agent = await newAgent();
    const lease = lostLease();
    const calls: [string, unknown][] = [
      ["uploads", { files: [await fileOf(new Uint8Array([1]))] }],
      ["complete", { artifacts: [], metrics: METRICS }],
      [
        "fail",
        { code: "OUT_OF_MEMORY", message: "", transient: true, node_id: null, node_type: null, metrics: METRICS },
      ],
      ["release", { reason: "drain", missing: [] }],
      ["stopped", { how: "interrupted", gpu_idle_after_ms: 3 }],
    ];
    for (const [verb, body] of calls) {
      const answer = await call(agent.token, `/leases/${verb}`, body, { lease });
      expect([verb, answer.status, await answer.json()]).toEqual([verb, 409, LOST]);
    }
  });

  it("is answered cancel once the client canceled, gets no upload URLs, and ends as canceled", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease, job } = await claimed(user, agent);
    await send(`/api/v1/jobs/${job}`, { ...as(user.key), method: "DELETE" });
    const renewed = await call(agent.token, "/leases/renew", RENEWAL, { lease });
    expect(await renewed.json()).toMatchObject({ answer: "cancel" });
    const uploads = await call(
      agent.token,
      "/leases/uploads",
      { files: [await fileOf(new Uint8Array([1]))] },
      { lease },
    );
    expect([uploads.status, await uploads.json()]).toEqual([409, LOST]);
    const stopped = await call(agent.token, "/leases/stopped", { how: "interrupted", gpu_idle_after_ms: 3 }, { lease });
    expect(await stopped.json()).toEqual({ status: "canceled" });
    expect(await stateOf(user.key, job)).toBe("canceled");
  });

  it("handed back puts the job in the queue again, failed for good ends it", async () => {
    const user = await person();
    const agent = await newAgent();
    const first = await claimed(user, agent);
    const back = await call(agent.token, "/leases/release", { reason: "drain", missing: [] }, { lease: first.lease });
    expect(await back.json()).toEqual({ status: "queued" });
    const second = await claimed(user, agent);
    const report = { code: "COMFYUI_EXECUTION", message: "bad node", transient: false, node_id: "3", node_type: "K" };
    const failed = await call(agent.token, "/leases/fail", { ...report, metrics: METRICS }, { lease: second.lease });
    expect(await failed.json()).toEqual({ status: "failed" });
  });
});

describe("uploads and the manifest", () => {
  it("sign each file for the attempt's own prefix, once, with length, type, MD5 and a safe name", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease, job } = await claimed(user, agent);
    const file = await fileOf(new Uint8Array([1, 2, 3]));
    const page = await fileOf(new Uint8Array([4]), '../x".html', "text/html");
    const ask = async (files: object[]) => {
      const answer = await call(agent.token, "/leases/uploads", { files }, { lease });
      return uploadsAnswerSchema.strict().parse(await answer.json()).uploads;
    };
    const [picture, risky] = await ask([file, page]);
    const prefix = `a90/${user.account}/${job}/1-${lease.split("_")[4]?.slice(0, 8)}/`;
    expect(picture?.key).toMatch(new RegExp(`^${prefix}\\d+\\.png$`));
    expect(picture?.headers).toEqual({
      "content-type": "image/png",
      "content-length": "3",
      "content-md5": "Uonfc331cyb83SJZevsfrA==",
      "content-disposition": 'inline; filename="ComfyUI_00001_.png"',
      "if-none-match": "*",
    });
    const signed = new URL(picture?.url ?? "").searchParams.get("X-Amz-SignedHeaders");
    expect(signed).toBe("content-disposition;content-length;content-md5;content-type;host;if-none-match");
    expect(risky?.key.endsWith(".bin")).toBe(true);
    expect(risky?.headers).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": 'attachment; filename="x_.html"',
    });
    const [again, other] = await ask([file, await fileOf(new Uint8Array([9]))]);
    expect(again?.key).toBe(picture?.key);
    expect(other?.key).not.toBe(picture?.key);
  });

  it("make the job succeed when the bucket holds what the manifest says, and answer the same again", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease, job } = await claimed(user, agent);
    const bytes = new Uint8Array([1, 2, 3]);
    const file = await fileOf(bytes);
    const asked = await call(agent.token, "/leases/uploads", { files: [file] }, { lease });
    const [upload] = uploadsAnswerSchema.parse(await asked.json()).uploads;
    await bindings.ARTIFACTS.put(upload?.key ?? "", bytes);
    const manifest = { artifacts: [entryOf(file, upload?.key ?? "")], metrics: METRICS };
    for (let i = 0; i < 2; i++) {
      const answer = await call(agent.token, "/leases/complete", manifest, { lease });
      expect([answer.status, await answer.json()]).toEqual([200, { status: "succeeded" }]);
    }
    expect(await stateOf(user.key, job)).toBe("succeeded");
  });

  it("never make another's object visible: a foreign key is not even looked up", async () => {
    const [owner, thief] = await Promise.all([person(), person()]);
    const agent = await newAgent();
    const bytes = new Uint8Array([7, 7]);
    const { lease: victim } = await claimed(owner, agent);
    const asked = await call(agent.token, "/leases/uploads", { files: [await fileOf(bytes)] }, { lease: victim });
    const key = uploadsAnswerSchema.parse(await asked.json()).uploads[0]?.key ?? "";
    await bindings.ARTIFACTS.put(key, bytes);
    const { lease, job } = await claimed(thief, agent);
    const head = vi.spyOn(bindings.ARTIFACTS, "head");
    const manifest = { artifacts: [entryOf(await fileOf(bytes), key)], metrics: METRICS };
    await call(agent.token, "/leases/complete", manifest, { lease });
    expect(head).not.toHaveBeenCalled();
    expect(await stateOf(thief.key, job)).not.toBe("succeeded");
  });

  it("F73: wait when the bucket does not answer: 503, the lease lives on, and the repeat succeeds", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease, job } = await claimed(user, agent);
    const bytes = new Uint8Array([5]);
    const asked = await call(agent.token, "/leases/uploads", { files: [await fileOf(bytes)] }, { lease });
    const key = uploadsAnswerSchema.parse(await asked.json()).uploads[0]?.key ?? "";
    await bindings.ARTIFACTS.put(key, bytes);
    const manifest = { artifacts: [entryOf(await fileOf(bytes), key)], metrics: METRICS };
    vi.spyOn(bindings.ARTIFACTS, "head").mockRejectedValueOnce(new Error("R2 is down"));
    const down = await call(agent.token, "/leases/complete", manifest, { lease });
    expect([down.status, await down.json()]).toEqual([503, { error: "bucket_unavailable" }]);
    expect(down.headers.get("Retry-After")).toBe("1");
    expect(await stateOf(user.key, job)).toBe("running");
    expect((await call(agent.token, "/leases/complete", manifest, { lease })).status).toBe(200);
  });
});
