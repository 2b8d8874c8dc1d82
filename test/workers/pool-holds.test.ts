/**
 * Holds pause, drain, resume and rest to their promise: who is held gets no new work, and what it has goes on. Holds an agent
 * that overstates what it is to one process for each socket.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { jobIdSchema } from "../../src/protocol/ids.ts";
import { PING } from "../../src/protocol/progress.ts";
import { AGENT_PROTOCOL } from "../../src/protocol/version.ts";
import { bindings } from "./support/account.ts";
import { call, claimBody, newAgent, signedRef } from "./support/agent.ts";
import { as, operator, person, post, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { answered, CAPABILITY, connect, isOffer, objectOf, offered, offerOf, openPool } from "./support/pool.ts";

const HOUR_MS = 3_600_000;

beforeAll(openDirectory);

describe("a held agent", () => {
  it("gets no offer until it is resumed, and others get them meanwhile", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const [a, b] = [await connect(pool, "agent-a"), await connect(pool, "agent-b", ["idle"], "two")];
    await pool.stub().holdAgents("agent-a", { kind: "pause", until: null });
    await a.frame(({ type }) => type === "pause");
    const [first, second] = [offerOf(pool.pool), offerOf(pool.pool)];
    await pool.stub().offer([first]);
    await b.frame(isOffer(first.ref));
    b.say({ type: "slot", slot: 0, state: "busy", ref: first.ref });
    await pool.stub().offer([second]);
    await answered(a);
    expect(offered(a)).toEqual([]);
    await pool.stub().holdAgents("agent-a", null);
    await a.frame(({ type }) => type === "resume");
    await a.frame(isOffer(second.ref));
  });

  it("hears of its hold when it comes, and of the end it missed", async () => {
    const pool = await openPool();
    await pool.stub().holdAgents("agent-a", { kind: "drain", until: null });
    const first = await connect(pool);
    expect(first.frames).toContainEqual({ type: "drain", until: null });
    first.socket.close(1000);
    await pool.stub().holdAgents("agent-a", null);
    const second = await connect(pool, "agent-a", ["paused"], "one");
    expect(second.frames).toContainEqual({ type: "resume", until: null });
  });

  it("is held by the row alone: a pool that lost its memory still holds, a hold whose time is over does not", async () => {
    const pool = await openPool();
    const until = Date.now() + HOUR_MS;
    await pool.stub().holdAgents("agent-a", { kind: "pause", until });
    await evictDurableObject(objectOf(pool));
    const held = await pool.stub().verifyToken(pool.proof);
    expect(held).toMatchObject({ value: { hold: { kind: "pause", until } } });
    vi.useFakeTimers({ toFake: ["Date"], now: until + 1 });
    try {
      expect(await pool.stub().verifyToken(pool.proof)).toMatchObject({ value: { hold: null } });
    } finally {
      vi.useRealTimers();
    }
  });

  it("that lost two leases within five minutes rests until a small run of its own succeeded", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    await pool.stub().leaseLost("agent-a");
    const fine = offerOf(pool.pool);
    await pool.stub().offer([fine]);
    await agent.frame(isOffer(fine.ref));
    agent.say({ type: "declined", ref: fine.ref });
    await answered(agent);
    await pool.stub().withdraw([fine.ref]);
    await pool.stub().leaseLost("agent-a");
    await agent.frame(({ type }) => type === "rest");
    const kept = offerOf(pool.pool);
    await pool.stub().offer([kept]);
    agent.say({ type: "slot", slot: 0, state: "preparing" });
    await answered(agent);
    expect(offered(agent)).toEqual([fine.ref]);
    agent.say({ type: "slot", slot: 0, state: "idle" });
    await agent.frame(isOffer(kept.ref));
  });

  it("is told to rest when it comes back, where it was cut off as its leases were lost, and not once it proved itself", async () => {
    const pool = await openPool();
    for (let lost = 0; lost < 2; lost++) await pool.stub().leaseLost("agent-a");
    const job = offerOf(pool.pool);
    await pool.stub().offer([job]);
    const agent = await connect(pool);
    await agent.frame(({ type }) => type === "rest");
    agent.say({ type: "slot", slot: 0, state: "sick" });
    await answered(agent);
    expect(offered(agent)).toEqual([]);
    agent.socket.close(1000);
    const again = await connect(pool);
    await again.frame(isOffer(job.ref));
    expect(again.types).not.toContain("rest");
  });

  it("rests although its pool lost its memory between the two", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    await pool.stub().leaseLost("agent-a");
    await evictDurableObject(objectOf(pool));
    await pool.stub().leaseLost("agent-a");
    await agent.frame(({ type }) => type === "rest");
  });
});

describe("an agent whose machine went without a word", () => {
  it("is no longer there once its pings stay away, and what it was offered goes to others", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const [silent, other] = [await connect(pool), await connect(pool, "agent-b", ["paused"], "two")];
    const ping = async (agent: typeof silent) => {
      agent.say(PING);
      await agent.until(() => agent.texts.length > 0, "a pong");
    };
    await ping(silent);
    const lies = offerOf(pool.pool);
    await pool.stub().offer([lies]);
    await silent.frame(isOffer(lies.ref));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 59_000 });
    try {
      expect((await pool.stub().status()).agents.online).toBe(2);
      vi.setSystemTime(Date.now() + 2_000);
      expect(await pool.stub().status()).toMatchObject({ agents: { online: 1 }, able: [] });
      await silent.closed;
      other.say({ type: "slot", slot: 0, state: "idle" });
      await other.frame(isOffer(lies.ref));
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("an agent that says more than is true", () => {
  it("fills its pool with no more than what the agents here have and what was told last", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    const hello = { type: "hello", agent: "agent-a", instance: "one", version: "1", slots: [], capability: CAPABILITY };
    const other = await connect(pool, "agent-a", ["idle"], "two");
    for (let n = 0; n < 210; n++) agent.say({ ...hello, capability_hash: `told ${n}` });
    await answered(agent);
    const kept = await runInDurableObject(objectOf(pool), (_, { storage }) =>
      storage.sql.exec<{ hash: string }>("SELECT hash FROM capabilities").toArray(),
    );
    const hashes = kept.map(({ hash }) => hash);
    expect(hashes.length).toBeLessThanOrEqual(202);
    expect(hashes).toEqual(expect.arrayContaining(["h1", "told 209"]));
    other.socket.close(1000);
  });

  it("is one process for each of its sockets, by whatever names it says hello", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    const hello = { type: "hello", agent: "agent-a", version: "1", slots: [{ slot: 0, state: "idle" }] };
    for (let n = 0; n < 5; n++) agent.say({ ...hello, instance: `name ${n}`, capability_hash: "h1" });
    await answered(agent);
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 1, busy: 0 } });
    agent.socket.close(1000);
    await agent.closed;
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 0, busy: 0 } });
  });

  it("is believed with as many slots, jobs, runs and reasons as the protocol lets it name, also by a pool that lost its memory", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    const runs = Array.from({ length: 32 }, (_, n) => ({ shape: String(n).padStart(16, "0"), run_ms: 1e9 + n }));
    const all = Array.from({ length: 64 }, (_, slot) => slot);
    const slots = all.map((slot) => ({ slot, state: "idle" }));
    agent.say({ type: "hello", agent: "agent-a", instance: "one", version: "1", slots, capability_hash: "h1", runs });
    const [ref, next] = [offerOf(pool.pool).ref, offerOf(pool.pool).ref];
    const reason = "because ".repeat(32);
    for (const slot of all) agent.say({ type: "slot", slot, state: "busy", ref, next, reason });
    await answered(agent);
    await evictDurableObject(objectOf(pool));
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 1, busy: 1 } });
    agent.say({ type: "known?", refs: [ref, next] });
    await agent.frame(({ refs }) => Array.isArray(refs) && refs.length === 2);
    const detail = await pool.stub().agentDetail("agent-a");
    expect(detail.ok && detail.value.processes[0]?.slots.filter(({ state }) => state === "busy")).toHaveLength(64);
  });
});

describe("operators", () => {
  const admin = async (path: string, body?: object) => {
    const { key } = await operator();
    const answer = await send(`/admin${path}`, body ? post(key, JSON.stringify(body)) : as(key));
    return { status: answer.status, body: await answer.json<Record<string, unknown>>() };
  };
  const agentMade = async () => String((await admin("/agents", { pool: "default", name: "rig" })).body.agent);

  it("pause an agent until a time, see it held, and resume it", async () => {
    const agent = await agentMade();
    const until = new Date(Date.now() + HOUR_MS).toISOString();
    expect((await admin(`/agents/${agent}/pause`, { until })).body.hold).toEqual({
      kind: "pause",
      until,
      by: "operator",
    });
    expect((await admin(`/agents/${agent}`)).body).toMatchObject({ hold: { kind: "pause", until }, processes: [] });
    expect((await admin(`/agents/${agent}/drain`, {})).body.hold).toEqual({
      kind: "drain",
      until: null,
      by: "operator",
    });
    expect((await admin(`/agents/${agent}/resume`, {})).body.hold).toBeNull();
  });

  it("keep an agent that did not hear of its pause from claiming, but not from what it claimed before", async () => {
    const { agent, token } = await newAgent();
    const user = await person();
    const jobs = [await submitted(user.key, { prompt: "a" }), await submitted(user.key, { prompt: "b" })];
    const [had, next] = jobs.map(({ job_id }) => claimBody(signedRef(user.account, job_id)));
    const claim = async (body: object | undefined) => {
      const answer = await call(token, "/claims", body);
      return [answer.status, (await answer.json<{ refusal?: string }>()).refusal];
    };
    expect(await claim(had)).toEqual([200, undefined]);
    await admin(`/agents/${agent}/pause`, {});
    expect(await claim(next)).toEqual([409, "not_yet"]);
    expect(await claim(had)).toEqual([200, undefined]);
    await admin(`/agents/${agent}/resume`, {});
    expect(await claim(next)).toEqual([200, undefined]);
  });

  it("are told which time is not acceptable, and that an agent or pool is not there", async () => {
    const agent = await agentMade();
    for (const until of ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "tomorrow"])
      expect(await admin(`/agents/${agent}/pause`, { until })).toMatchObject({
        status: 422,
        body: { error: { details: { field: "until" } } },
      });
    expect((await admin("/agents/ag_000000000000/pause", {})).status).toBe(404);
    expect((await admin("/pools/elsewhere/pause", {})).status).toBe(404);
  });

  it("pause a pool: its jobs wait with that reason, its queue hands out nothing, and both end with resume", async () => {
    const { token } = await newAgent("rig");
    const pull = () =>
      send("/agent/v1/queue/pull", post(String(token), "{}", { "X-Agent-Protocol": String(AGENT_PROTOCOL) }));
    try {
      expect((await admin("/pools/default/pause", {})).body.paused_until).toBe("9999-12-31T00:00:00.000Z");
      const paused = await pull();
      expect([paused.status, await paused.text()]).toEqual([409, expect.stringContaining("queue_delivery_paused")]);
      const user = await person();
      const { job_id } = await submitted(user.key, { prompt: "a lighthouse" });
      const waiting = async () => {
        const view = await (await send(`/api/v1/jobs/${job_id}`, as(user.key))).json<{ waiting: { reason: string } }>();
        return view.waiting.reason;
      };
      await vi.waitUntil(async () => (await waiting()) === "pool_paused", { timeout: 15_000, interval: 200 });
      await accountOf(bindings, user.account).cancelJob({ by: "internal", keyid: "test" }, jobIdSchema.parse(job_id));
    } finally {
      expect((await admin("/pools/default/resume", {})).body.paused_until).toBeNull();
    }
  });
});
