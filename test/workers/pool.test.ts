/**
 * Holds the PoolObject to CONTRACT 2 (control socket) and DESIGN 2 (Dispatch) with real sockets: what an agent receives, when.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { settingsOf } from "../../src/platform/env.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import type { SlotState } from "../../src/protocol/agent-api.ts";
import { keyIdSchema, poolNameSchema } from "../../src/protocol/ids.ts";
import { openPoolDatabase } from "../../src/storage/pool/database.ts";
import * as schema from "../../src/storage/pool/schema.ts";
import { bindings, POOL } from "./support/account.ts";
import { answered, CAPABILITY, connect, isOffer, objectOf, offered, offerOf, openPool } from "./support/pool.ts";
import { controlSocket } from "./support/sockets.ts";

describe("offers", () => {
  it("reach an idle agent at once, with the ref and nothing else", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    const offer = offerOf(pool.pool);
    await pool.stub().offer([offer]);
    const frame = await agent.frame(isOffer(offer.ref));
    expect(frame).toEqual({ type: "offer", ref: offer.ref, ahead: false });
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 1, busy: 0 }, ready: 1 });
  });

  it("wait in the list for an agent that comes, and for a slot that becomes idle", async () => {
    const pool = await openPool();
    const [first, second] = [offerOf(pool.pool), offerOf(pool.pool)];
    await pool.stub().offer([first, second]);
    const agent = await connect(pool);
    await agent.frame(isOffer(first.ref));
    agent.say({ type: "slot", slot: 0, state: "busy", ref: first.ref });
    await answered(agent);
    expect(offered(agent)).toEqual([first.ref]);
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 1, busy: 1 }, ready: 1 });
    agent.say({ type: "slot", slot: 0, state: "idle" });
    await agent.frame(isOffer(second.ref));
  });

  it("go to no agent that is busy, paused, sick, used by its owner, or has not said hello", async () => {
    const pool = await openPool();
    const silent = await controlSocket({ agent: "agent-a", name: "a" }, pool.pool);
    const states: SlotState[] = ["busy", "preparing", "busy_by_owner", "paused", "sick"];
    const agent = await connect(pool, "agent-a", states);
    await pool.stub().offer([offerOf(pool.pool)]);
    await answered(agent);
    expect([offered(agent), offered(silent)]).toEqual([[], []]);
  });

  it("are one per idle slot, the rest when slots are free again", async () => {
    const pool = await openPool();
    const agent = await connect(pool, "agent-a", ["idle", "idle"]);
    const offers = [0, 1, 2].map(() => offerOf(pool.pool));
    await pool.stub().offer(offers);
    await answered(agent);
    expect(offered(agent)).toHaveLength(2);
  });

  it("go to the next agent when the first declines, and when it says nothing for a second", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const [a, b] = [await connect(pool, "agent-a"), await connect(pool, "agent-b")];
    const offer = offerOf(pool.pool);
    await pool.stub().offer([offer]);
    await answered(a);
    const [first, next] = offered(a).length === 1 ? [a, b] : [b, a];
    await first.frame(isOffer(offer.ref));
    first.say({ type: "declined", ref: offer.ref });
    await next.frame(isOffer(offer.ref));
    const sentAt = Date.now();
    await first.until(() => offered(first).length === 2, "the offer coming round");
    expect(Date.now() - sentAt).toBeGreaterThan(900);
    expect(Date.now() - sentAt).toBeLessThan(2_000);
  });

  it("go to the next agent at once when the first goes away", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const a = await connect(pool, "agent-a");
    const offer = offerOf(pool.pool);
    await pool.stub().offer([offer]);
    await a.frame(isOffer(offer.ref));
    const b = await connect(pool, "agent-b");
    a.socket.close(1001, "");
    await b.frame(isOffer(offer.ref));
  });

  it("go ahead to a busy agent whose job should end soon, but only while no other agent is idle", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const a = await connect(pool, "agent-a", ["busy"]);
    const b = await connect(pool, "agent-b");
    const [running, first, second, third] = Array.from({ length: 4 }, () => offerOf(pool.pool));
    if (!running || !first || !second || !third) throw new Error("four offers");
    a.say({ type: "slot", slot: 0, state: "busy", ref: running.ref, ahead: true });
    await answered(a);
    await pool.stub().offer([first]);
    expect(await b.frame(isOffer(first.ref))).toMatchObject({ ahead: false });
    b.say({ type: "slot", slot: 0, state: "busy", ref: first.ref });
    await answered(b);
    await pool.stub().offer([second, third]);
    expect(await a.frame(isOffer(second.ref))).toMatchObject({ ahead: true });
    a.say({ type: "slot", slot: 0, state: "busy", ref: running.ref, next: second.ref });
    await answered(a);
    expect([...offered(a), ...offered(b)]).toEqual([second.ref, first.ref]);
    expect(await pool.stub().status()).toMatchObject({ ready: 1 });
  });

  it("are made again elsewhere for what was claimed ahead: it is asked back once when another agent is idle", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const a = await connect(pool, "agent-a", ["busy"]);
    const [running, waiting] = [offerOf(pool.pool), offerOf(pool.pool)];
    a.say({ type: "slot", slot: 0, state: "busy", ref: running.ref, next: waiting.ref });
    await answered(a);
    const b = await connect(pool, "agent-b");
    const asked = await a.frame(({ type }) => type === "give_back");
    expect(asked).toMatchObject({ ref: waiting.ref });
    b.say({ type: "slot", slot: 0, state: "idle" });
    await answered(b);
    expect(a.frames.filter(({ type }) => type === "give_back")).toHaveLength(1);
  });

  it("prefer an agent that says it has the job's models in memory", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const a = await connect(pool, "agent-a", ["busy"]);
    const b = await connect(pool, "agent-b", ["busy"]);
    a.say({ type: "slot", slot: 0, state: "idle" });
    b.say({ type: "slot", slot: 0, state: "idle", loaded: ["wanted.safetensors"] });
    await Promise.all([answered(a), answered(b)]);
    const offer = offerOf(pool.pool, { models: ["wanted.safetensors"] });
    await pool.stub().offer([offer]);
    await b.frame(isOffer(offer.ref));
    expect(offered(a)).toEqual([]);
  });

  it("are not made for what was withdrawn or is taken", async () => {
    const pool = await openPool();
    const [gone, taken, left] = [offerOf(pool.pool), offerOf(pool.pool), offerOf(pool.pool)];
    await pool.stub().offer([gone]);
    await pool.stub().withdraw([gone.ref]);
    const busy = await connect(pool, "agent-a", ["busy"]);
    busy.say({ type: "slot", slot: 0, state: "busy", ref: taken.ref });
    await answered(busy);
    await pool.stub().offer([taken, left]);
    busy.say({ type: "slot", slot: 1, state: "idle" });
    await busy.frame(isOffer(left.ref));
    expect(offered(busy)).toEqual([left.ref]);
    busy.say({ type: "known?", refs: [gone.ref, taken.ref, left.ref] });
    await busy.frame((f) => f.type === "taken" && Array.isArray(f.refs) && f.refs.length > 0);
    expect(busy.frames.at(-1)).toEqual({ type: "taken", refs: [taken.ref] });
  });
});

describe("an evicted pool", () => {
  it("still knows who is there and what they run, and offers to who is idle", async () => {
    const pool = await openPool();
    const agent = await connect(pool, "agent-a", ["idle", "idle"]);
    const [running, next] = [offerOf(pool.pool), offerOf(pool.pool)];
    agent.say({ type: "slot", slot: 0, state: "busy", ref: running.ref });
    await answered(agent);
    await evictDurableObject(objectOf(pool));
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 1, busy: 1 }, ready: 0 });
    await pool.stub().offer([running, next]);
    await agent.frame(isOffer(next.ref));
    expect(offered(agent)).toEqual([next.ref]);
  });
});

describe("agents", () => {
  it("are let in by the hash of their token's secret, and all refusals look the same", async () => {
    const pool = await openPool();
    const identity = { agent: "agent-a", name: "name of agent-a", pool: pool.pool };
    expect(await pool.stub().verifyToken(pool.proof)).toEqual({ ok: true, value: { identity, hold: null } });
    const other = await openPool();
    await pool.admit("agent-b");
    const refusals = await Promise.all([
      pool.stub().verifyToken({ ...pool.proof, secret_sha256: sha256Hex("guess") }),
      pool.stub().verifyToken({ ...pool.proof, keyid: keyIdSchema.parse("zzzzzzzz") }),
      other.stub().verifyToken(pool.proof),
      poolOf(bindings, poolNameSchema.parse("never")).verifyToken(pool.proof),
    ]);
    expect(new Set(refusals.map((refusal) => JSON.stringify(refusal))).size).toBe(1);
    expect(refusals[0]).toMatchObject({ ok: false, refusal: { code: "UNAUTHORIZED" } });
  });

  it("are out for good when revoked: token, sockets and what they were offered", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const a = await connect(pool, "agent-a");
    const offer = offerOf(pool.pool);
    await pool.stub().offer([offer]);
    await a.frame(isOffer(offer.ref));
    const b = await connect(pool, "agent-b");
    expect(await pool.stub().revokeAgent("agent-a")).toMatchObject({ ok: true, value: { online: false } });
    expect(await a.closed).toEqual({ code: 4401, reason: "token revoked" });
    await b.frame(isOffer(offer.ref));
    expect(await pool.stub().verifyToken(pool.proof)).toMatchObject({ ok: false });
    await expect(async () => connect(pool, "agent-a")).rejects.toThrow("no upgrade: 401");
    expect(await pool.stub().listAgents()).toMatchObject([
      { agent: expect.any(String), online: expect.any(Boolean) },
      { agent: expect.any(String) },
    ]);
    expect(await pool.stub().revokeAgent("nobody")).toMatchObject({ ok: false, refusal: { code: "NOT_FOUND" } });
  });

  it("hold one socket per process: the newest, with what the older one ran; another process is another", async () => {
    const pool = await openPool();
    const first = await connect(pool, "agent-a", ["busy"]);
    const running = offerOf(pool.pool);
    first.say({ type: "slot", slot: 0, state: "busy", ref: running.ref });
    await answered(first);
    const second = await connect(pool, "agent-a", ["busy"]);
    expect(await first.closed).toEqual({ code: 4409, reason: "replaced" });
    second.say({ type: "known?", refs: [running.ref] });
    await second.frame((f) => f.type === "taken" && JSON.stringify(f.refs) === JSON.stringify([running.ref]));
    const twin = await connect(pool, "agent-a", ["idle"], "two");
    expect(await pool.stub().status()).toMatchObject({ agents: { online: 2, busy: 1 } });
    expect([second.socket.readyState, twin.socket.readyState]).toEqual([1, 1]);
  });

  it("are asked for their capability once per hash, whoever has it", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const hello = { type: "hello", instance: "one", version: "1", slots: [], capability_hash: "h9" };
    const a = await controlSocket({ agent: "agent-a", name: "a" }, pool.pool);
    a.say({ ...hello, agent: "agent-a" });
    await a.frame(({ type }) => type === "want_capability");
    a.say({ ...hello, agent: "agent-a", capability: CAPABILITY });
    await answered(a);
    const b = await controlSocket({ agent: "agent-b", name: "b" }, pool.pool);
    b.say({ ...hello, agent: "agent-b" });
    await answered(b);
    expect(b.frames.map(({ type }) => type)).toEqual(["taken"]);
  });

  it("are told in a large fleet within how long to come back when their sockets end, and in a small one nothing", async () => {
    const pool = await openPool();
    const small = await connect(pool);
    expect(small.frames.some(({ type }) => type === "reconnect")).toBe(false);
    for (let n = 0; n < 19; n++) await pool.admit(`agent-${n}`);
    const large = await connect(pool, "agent-7");
    expect(large.frames).toContainEqual({ type: "reconnect", within_ms: 20 * 60 });
  });

  it("may send what is not of the protocol without harm to anyone", async () => {
    const pool = await openPool();
    const agent = await connect(pool);
    for (const junk of ["{", "[]", '{"type":"launch"}', '{"type":"slot","slot":-1,"state":"idle"}']) agent.say(junk);
    agent.say("ping");
    await agent.until(() => agent.texts.includes("pong"));
    await answered(agent);
    agent.socket.send(new Uint8Array([1, 2, 3]));
    expect((await agent.closed).code).toBe(1009);
    await vi.waitFor(async () => expect((await pool.stub().status()).agents.online).toBe(0));
  });
});

describe("a pool with a region", () => {
  it("is made there: every call hints at it", () => {
    const { POOLS } = settingsOf(bindings);
    const here = { ...bindings, POOLS: JSON.stringify(POOLS.map((pool) => ({ ...pool, region: "weur" }))) };
    const get = vi.spyOn(bindings.POOL, "get");
    poolOf(here, POOL);
    poolOf(bindings, POOL);
    expect(get.mock.calls.map(([, options]) => options)).toEqual([{ locationHint: "weur" }, {}]);
    get.mockRestore();
  });
});

describe("the pool's tables", () => {
  it("are column for column what drizzle is told, and are not made by a read", async () => {
    const pool = poolNameSchema.parse("tables");
    await poolOf(bindings, pool).listAgents();
    await runInDurableObject(bindings.POOL.get(bindings.POOL.idFromName(pool)), (_, state) => {
      const tables = () => state.storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table'").toArray();
      expect(tables().filter(({ name }) => !String(name).startsWith("_cf"))).toEqual([]);
      openPoolDatabase(state.storage).toWrite();
      for (const [name, table] of Object.entries(schema)) {
        const columns = state.storage.sql.exec(`SELECT name FROM pragma_table_info('${name}')`).toArray();
        expect(columns.map((column) => column.name)).toEqual(
          Object.keys(table).filter((k) => k !== "enableRLS" && !k.startsWith("_")),
        );
      }
    });
  });
});
