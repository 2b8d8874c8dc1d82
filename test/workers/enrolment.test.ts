/**
 * Holds enrolment to its promise, and what an agent may ask about itself: one code gives one token, and nobody learns more.
 */

import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { randomBase32, sha256Hex } from "../../src/platform/hash.ts";
import { CODE_TTL_MS } from "../../src/protocol/agent-self.ts";
import { keyIdSchema, SYS_ACCOUNT } from "../../src/protocol/ids.ts";
import { mistyped } from "../support/mistyped.ts";
import { bindings, POOL } from "./support/account.ts";
import { byAdmin, newOperator, pass } from "./support/admin.ts";
import { call, claimBody, claimed, newAgent, signedRef } from "./support/agent.ts";
import { without } from "./support/broken.ts";
import { as, person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { controlSocket } from "./support/sockets.ts";

type Made = { agent: string; code: string; token: string | null; code_expires_at: string; status: number };
type Answer = { status: number; body: Record<string, unknown> };

beforeAll(async () => {
  await openDirectory();
  await newOperator();
});

const made = () => byAdmin<Made>("POST", "/agents", { pool: "default", name: "rig" });
const idOf = () => randomBase32(20);

async function enrol(code: string, enrol_id = idOf(), over = {}): Promise<Answer> {
  const headers = { "X-Agent-Protocol": "1", "Content-Type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify({ code, enrol_id }) };
  const answer = await send("/agent/v1/enrol", init, over);
  return { status: answer.status, body: await answer.json<Record<string, unknown>>() };
}
const self = async (token: string): Promise<Answer> => {
  const answer = await send("/agent/v1/self", as(token, { "X-Agent-Protocol": "1" }));
  return { status: answer.status, body: await answer.json<Record<string, unknown>>() };
};

describe("an enrolment code", () => {
  it("is given in place of a token, says until when it is good, and is gone from view once it was used", async () => {
    const { agent, code, token, code_expires_at, status } = await made();
    expect([status, token]).toEqual([201, null]);
    expect(Date.parse(code_expires_at) - Date.now()).toBeLessThanOrEqual(CODE_TTL_MS);
    const { status: given, body } = await enrol(code);
    expect([given, body]).toEqual([
      200,
      { agent, name: "rig", pool: "default", token: expect.stringMatching(/^ce_agent_/) },
    ]);
    expect(await self(String(body.token))).toMatchObject({ status: 200, body: { agent, hold: null, processes: [] } });
    expect(await byAdmin("GET", `/agents/${agent}`)).toMatchObject({ code_expires_at: null, revoked_at: null });
  });

  it("gives one token however many ask at once, and the asking whose answer was lost hears the same again", async () => {
    const { code } = await made();
    const ids = Array.from({ length: 12 }, idOf);
    const answers = await Promise.all(ids.map((id) => enrol(code, id)));
    const given = answers.filter(({ status }) => status === 200);
    expect([given.length, answers.filter(({ status }) => status === 401).length]).toEqual([1, 11]);
    const winner = ids[answers.findIndex(({ status }) => status === 200)];
    expect(await enrol(code, winner)).toEqual(given[0]);
    expect((await self(String(given[0]?.body.token))).status).toBe(200);
  });

  it("is refused by one and the same answer when it is wrong, used, replaced, of a revoked agent, or too old", async () => {
    const used = await made();
    await enrol(used.code);
    const replaced = await made();
    await byAdmin("POST", `/agents/${replaced.agent}/code`);
    const revoked = await made();
    await byAdmin("DELETE", `/agents/${revoked.agent}`);
    const old = await made();
    const wrong = [used.code, replaced.code, revoked.code, `${old.code.slice(0, -1)}!`, mistyped(old.code), "x"];
    const answers = [];
    for (const code of wrong) answers.push(await enrol(code));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    try {
      pass(CODE_TTL_MS);
      answers.push(await enrol(old.code), await enrol(used.code));
    } finally {
      vi.useRealTimers();
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 401, body: { error: "code_refused" } });
  });

  it("made anew lets an agent in that lost its token: the old token ends, and so does its socket", async () => {
    const first = await made();
    const { token } = (await enrol(first.code)).body;
    const socket = await controlSocket({ agent: first.agent, name: "rig" }, POOL);
    const { code } = await byAdmin<Made>("POST", `/agents/${first.agent}/code`);
    expect((await self(String(token))).status).toBe(200);
    const second = (await enrol(code)).body.token;
    expect(await socket.closed).toMatchObject({ code: 4401 });
    expect([(await self(String(token))).status, (await self(String(second))).status]).toEqual([401, 200]);
  });

  it("made anew shuts the control socket to the old token, also where a yes to it is still remembered", async () => {
    const { agent, code } = await made();
    const { token } = (await enrol(code)).body;
    const upgrade = () =>
      send("/agent/v1/control", as(String(token), { "X-Agent-Protocol": "1", Upgrade: "websocket" }));
    const first = await upgrade();
    first.webSocket?.accept();
    // Asked of the pool's object itself: as though another isolate had been asked.
    const pool = poolOf(bindings, POOL);
    await pool.openCode(agent, { code_sha256: sha256Hex(agent), expires_at: Date.now() + CODE_TTL_MS });
    const keyid = keyIdSchema.parse(randomBase32(8));
    await pool.enrol({ code_sha256: sha256Hex(agent), keyid, secret_sha256: sha256Hex("another") });
    expect([first.status, (await self(String(token))).status, (await upgrade()).status]).toEqual([101, 200, 401]);
  });

  it("may be tried from one address only so often, right or wrong", async () => {
    const { code } = await made();
    let asked = 0;
    const EDGE_LIMIT = { limit: async () => ({ success: ++asked <= 2 }) };
    const tries = [await enrol("x", idOf(), { EDGE_LIMIT }), await enrol("y", idOf(), { EDGE_LIMIT })];
    expect([...tries, await enrol(code, idOf(), { EDGE_LIMIT })].map(({ status }) => status)).toEqual([401, 401, 429]);
    expect((await enrol(code)).status).toBe(200);
  });

  it("is not needed where an operator asks for the token itself", async () => {
    const { token, code } = await byAdmin<Made>("POST", "/agents", { pool: "default", name: "r", credential: "token" });
    expect([code, (await self(String(token))).status]).toEqual([null, 200]);
  });

  it("leaves who made and who used it in the audit trail, and never itself", async () => {
    const { agent, code } = await made();
    const asking = idOf();
    const { token } = (await enrol(code, asking)).body;
    await enrol(code, asking);
    const trail = await byAdmin("GET", `/audit?target=${agent}`);
    const text = JSON.stringify(trail);
    expect(text).toMatch(/create_agent/);
    expect(text.match(/enrol_agent/g)).toHaveLength(1);
    expect([text.includes(code), text.includes(String(token))]).toEqual([false, false]);
  });

  it("leaves its use in the audit trail, once, also where the trail could not be told while it was used", async () => {
    const { agent, code } = await made();
    const asking = idOf();
    const lost = await enrol(code, asking, { ACCOUNT: without(bindings.ACCOUNT, SYS_ACCOUNT) });
    const heard = [await enrol(code, asking), await enrol(code, asking)].map(({ status }) => status);
    const trail = JSON.stringify(await byAdmin("GET", `/audit?target=${agent}`));
    expect([lost.status, ...heard, trail.match(/enrol_agent/g)]).toEqual([500, 200, 200, ["enrol_agent"]]);
  });
});

describe("an agent, of itself", () => {
  let agent = "";
  let token = "";
  const hold = async (verb: string, body: object = {}) => {
    const answer = await call(token, `/self/${verb}`, body);
    return (await answer.json<{ hold: object | null }>()).hold;
  };
  beforeEach(async () => {
    ({ agent, token } = await newAgent());
  });

  it("pauses until a time: it may claim nothing, its operators see by whom, and resuming ends it", async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const own = { kind: "pause", until, by: "agent" };
    expect(await hold("pause", { until })).toEqual(own);
    expect((await byAdmin("GET", `/agents/${agent}`)).hold).toEqual(own);
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: "a" });
    const claim = async () => (await call(token, "/claims", claimBody(signedRef(user.account, job_id)))).status;
    expect(await claim()).toBe(409);
    expect(await hold("resume")).toBeNull();
    expect(await claim()).toBe(200);
  });

  it("ends no hold but its own, and its operators end both", async () => {
    await byAdmin("POST", `/agents/${agent}/pause`, {});
    await hold("drain");
    expect(await hold("resume")).toEqual({ kind: "pause", until: null, by: "operator" });
    await hold("drain");
    expect((await byAdmin("POST", `/agents/${agent}/resume`)).hold).toBeNull();
    expect((await self(token)).body.hold).toBeNull();
  });

  it("is refused a pause that lies behind or too far ahead", async () => {
    for (const until of ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"])
      expect((await call(token, "/self/pause", { until })).status).toBe(400);
  });

  it("gets one small create-only upload to try the bucket with, under the rule of a day", async () => {
    const answer = await call(token, "/self/test-upload", { size_bytes: 5, md5: "0".repeat(32) });
    const { url, headers } = await answer.json<{ url: string; headers: Record<string, string> }>();
    expect([answer.status, new URL(url).pathname.includes(`/in1/${agent}/`)]).toEqual([200, true]);
    expect(headers).toMatchObject({ "if-none-match": "*", "content-length": "5" });
    expect((await call(token, "/self/test-upload", { size_bytes: 1e9, md5: "0".repeat(32) })).status).toBe(400);
  });
});

describe("all jobs of an agent", () => {
  it("are given back by an operator's word: uncharged, the agent told, its leases lost; the cancel of one still wins", async () => {
    const { agent, token } = await newAgent();
    const user = await person();
    const [a, b] = [await claimed(user, { agent, token }), await claimed(user, { agent, token })];
    await send(`/api/v1/jobs/${b.job}`, { ...as(user.key), method: "DELETE" });
    const socket = await controlSocket({ agent, name: "box" }, POOL);
    const slots = [0, 1].map((slot) => ({ slot, state: "busy" as const }));
    socket.say({ type: "hello", agent: "box", instance: "one", version: "1", slots, capability_hash: "h1" });
    for (const [slot, { job }] of [a, b].entries())
      socket.say({ type: "slot", slot, state: "busy", ref: signedRef(user.account, job) });
    // What another has, what nobody has, and what is no ref of ours: an agent may say so, and it changes nothing.
    const others = await claimed(user, await newAgent());
    const made = [signedRef(user.account, others.job), signedRef(user.account, "j_00000000000a")];
    const forged = mistyped(made[0] ?? "");
    for (const [n, ref] of [...made, forged].entries()) socket.say({ type: "slot", slot: 2 + n, state: "busy", ref });
    socket.say({ type: "known?", refs: [] });
    await socket.frame(({ type }) => type === "taken");
    const detail = await byAdmin<{ leases: { job_id: string }[] }>("GET", `/agents/${agent}`);
    expect(detail.leases.map(({ job_id }) => job_id).slice(0, 2)).toEqual([a.job, b.job]);
    expect(await byAdmin("POST", `/agents/${agent}/release`)).toEqual({
      status: 200,
      agent,
      released: [
        { job_id: a.job, attempt: 1, status: "queued" },
        { job_id: b.job, attempt: 1, status: "canceled" },
      ],
    });
    await socket.frame((frame) => frame.type === "give_back" && frame.now === true);
    const renewed = await call(
      token,
      "/leases/renew",
      { phase: "executing", progress: 0, progress_detail: null },
      { lease: a.lease },
    );
    expect(await renewed.json()).toMatchObject({ answer: "lost" });
    const view = await (await send(`/api/v1/jobs/${a.job}`, as(user.key))).json();
    expect(view).toMatchObject({ status: "queued", attempt: 1, error: null });
    expect(await byAdmin("POST", `/agents/${agent}/release`)).toMatchObject({ released: [] });
    const other = await (await send(`/api/v1/jobs/${others.job}`, as(user.key))).json();
    expect(other).toMatchObject({ status: "running" });
    expect((await byAdmin("POST", "/agents/ag_000000000000/release")).status).toBe(404);
  });
});

describe("the latest trouble of an agent", () => {
  it("is shown with its time and job: a failed attempt, a sick slot, a lost lease", async () => {
    const { agent, token } = await newAgent();
    const user = await person();
    const { job } = await claimed(user, { agent, token });
    const trouble = async () => (await byAdmin("GET", `/agents/${agent}`)).last_error;
    expect(await trouble()).toBeNull();
    const socket = await controlSocket({ agent, name: "box" }, POOL);
    const slots = [{ slot: 0, state: "idle" as const }];
    socket.say({ type: "hello", agent: "box", instance: "one", version: "1", slots, capability_hash: "h1" });
    const error = { ref: signedRef(user.account, job), text: "OUT_OF_MEMORY: no" };
    socket.say({ type: "slot", slot: 0, state: "idle", error });
    await vi.waitUntil(async () => (await trouble()) !== null, { timeout: 15_000 });
    expect(await trouble()).toEqual({ at: expect.any(String), text: "OUT_OF_MEMORY: no", job_id: job });
    socket.say({ type: "slot", slot: 0, state: "sick", reason: "ComfyUI: gone" });
    await vi.waitUntil(async () => JSON.stringify(await trouble()).includes("ComfyUI: gone"), { timeout: 15_000 });
  });
});
