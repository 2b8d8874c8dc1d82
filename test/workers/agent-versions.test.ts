/**
 * Holds old agents to CONTRACT 2: one of the first release still runs jobs to their end, one of another protocol hears so at
 * every door. What the first release sent stands here as text, and never follows the code.
 */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { bindings, POOL } from "./support/account.ts";
import { call, newAgent, signedRef, type TestAgent } from "./support/agent.ts";
import { as, person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { TestSocket } from "./support/sockets.ts";

beforeAll(openDirectory);

const BYTES = new TextEncoder().encode("an image");
const METRICS = `{"prepare_ms":1,"load_ms":1,"run_ms":1,"upload_ms":1,"gpu_seconds":0.5,"gpu_name":null}`;
const hex = async (algorithm: string) =>
  Array.from(new Uint8Array(await crypto.subtle.digest(algorithm, BYTES)), (b) => b.toString(16).padStart(2, "0")).join(
    "",
  );

async function control(agent: TestAgent): Promise<TestSocket> {
  const headers = { Upgrade: "websocket", "X-Agent-Protocol": "1" };
  const { webSocket } = await send("/agent/v1/control", as(agent.token, headers));
  if (!webSocket) throw new Error("no socket");
  return new TestSocket(webSocket);
}

describe("an agent of the first release", () => {
  it("is offered a job, claims, renews, uploads and completes with nothing but what it knew", async () => {
    const [agent, user] = [await newAgent("first"), await person()];
    const socket = await control(agent);
    socket.say(
      `{"type":"hello","agent":"first","instance":"i","version":"0.1.0","slots":[{"slot":0,"state":"idle"}],"capability_hash":"h1","capability":{"os":"linux","comfyui_version":"0.3.64","gpus":[],"models":[],"node_classes":[],"custom_nodes":[],"disk_free_bytes":1,"loaded_models":[]}}`,
    );
    await vi.waitFor(async () => expect((await poolOf(bindings, POOL).status()).agents.online).toBe(1));
    const { job_id } = await submitted(user.key, { prompt: "a", seed: 7 });
    const ref = signedRef(user.account, job_id);
    const offer = await socket.frame(({ type, ref: offered }) => type === "offer" && offered === ref);
    expect(offer).toEqual({ type: "offer", ref, ahead: false });
    const claim = await call(
      agent.token,
      "/claims",
      `{"ref":"${ref}","claim_id":"0123456789abcdef","slot":0,"ahead":false}`,
    );
    const { lease, workflow, limits, progress_url } = await claim.json<Record<string, string>>();
    expect([claim.status, typeof workflow, typeof limits, typeof progress_url]).toEqual([
      200,
      "string",
      "object",
      "string",
    ]);
    socket.say(`{"type":"slot","slot":0,"state":"busy","ref":"${ref}"}`);
    socket.say(`{"type":"known?","refs":["${ref}"]}`);
    expect(await socket.frame(({ type }) => type === "taken")).toEqual({ type: "taken", refs: [ref] });
    const under = (path: string, body: string) => call(agent.token, path, body, { lease: lease ?? "" });
    const renewed = await under("/leases/renew", `{"phase":"executing","progress":0.5,"progress_detail":null}`);
    expect(await renewed.json()).toEqual({ answer: "continue", lease_expires_in_ms: 60_000 });
    const [md5, sha256] = [await hex("MD5"), await hex("SHA-256")];
    const file = `"name":"x.png","type":"image","content_type":"image/png","size_bytes":${BYTES.length},"md5":"${md5}","sha256":"${sha256}"`;
    const { uploads } = await (await under("/leases/uploads", `{"files":[{${file}}]}`)).json<{
      uploads: { key: string }[];
    }>();
    const key = uploads[0]?.key ?? "";
    await bindings.ARTIFACTS.put(key, BYTES);
    const entry = `{${file},"key":"${key}","node_id":"9","width":64,"height":64,"seed":"7","text":null}`;
    const done = await under("/leases/complete", `{"artifacts":[${entry}],"metrics":${METRICS}}`);
    expect([done.status, await done.json()]).toEqual([200, { status: "succeeded" }]);
    socket.socket.close();
  });

  it("fails, hands back and stops jobs as it always did", async () => {
    const [agent, user] = [await newAgent("first"), await person()];
    const claimed = async () => {
      const { job_id } = await submitted(user.key, { prompt: "a", seed: 7 });
      const body = `{"ref":"${signedRef(user.account, job_id)}","claim_id":"0123456789abcdef","slot":0,"ahead":false}`;
      const { lease } = await (await call(agent.token, "/claims", body)).json<{ lease: string }>();
      return {
        job_id,
        say: async (path: string, text: string) => (await call(agent.token, path, text, { lease })).json(),
      };
    };
    const failed = await claimed();
    const why = `{"code":"COMFYUI_EXECUTION","message":"m","transient":false,"node_id":null,"node_type":null,"metrics":${METRICS}}`;
    expect(await failed.say("/leases/fail", why)).toEqual({ status: "failed" });
    const back = await claimed();
    expect(await back.say("/leases/release", `{"reason":"drain","missing":[]}`)).toEqual({ status: "queued" });
    const stopped = await claimed();
    await send(`/api/v1/jobs/${stopped.job_id}`, { ...as(user.key), method: "DELETE" });
    expect(
      await stopped.say("/leases/renew", `{"phase":"executing","progress":0,"progress_detail":null}`),
    ).toMatchObject({
      answer: "cancel",
    });
    expect(await stopped.say("/leases/stopped", `{"how":"interrupted","gpu_idle_after_ms":5}`)).toEqual({
      status: "canceled",
    });
  });
});

describe("an agent of another protocol", () => {
  it("is told 426 with the accepted range at every door of the agent API, with a good token too", async () => {
    const { paths } = await (await send("/openapi.json")).json<{ paths: Record<string, Record<string, object>> }>();
    const agent = await newAgent("newer");
    const doors = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, spec]) => ["agent", "enrol"].includes(Reflect.get(spec, "x-auth")))
        .map(([method]) => ({ path, method: method.toUpperCase() })),
    );
    expect(doors.length).toBeGreaterThan(10);
    for (const { path, method } of doors)
      for (const version of ["0", "2"]) {
        const headers = { "X-Agent-Protocol": version, "Content-Type": "application/json", Upgrade: "websocket" };
        const body = method === "POST" ? { body: "{}" } : {};
        const answer = await send(path, { ...as(agent.token, headers), method, ...body });
        expect([path, answer.status, await answer.json()]).toEqual([
          path,
          426,
          { error: "agent_protocol", min: 1, max: 1 },
        ]);
      }
  });
});
