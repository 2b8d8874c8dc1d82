/**
 * Owns what a pool learns for those who wait: how long runs take, and who can run what since when.
 */
import { evictDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings, openAccount, POOL } from "./support/account.ts";
import { NOON, pass } from "./support/attempts.ts";
import { answered, connect, objectOf, openPool } from "./support/pool.ts";
import { controlSocket } from "./support/sockets.ts";
import { quiet } from "./support/steps.ts";

const SHAPE = "0123456789abcdef";

describe("the time that workflows of one shape take", () => {
  it("is known from the third run on, over all agents, and by an evicted pool as well", async () => {
    const pool = await openPool();
    await pool.admit("agent-b");
    const [a, b] = [await connect(pool, "agent-a"), await connect(pool, "agent-b")];
    const ran = (run_ms: number) => ({ type: "slot", slot: 0, state: "idle", ran: { shape: SHAPE, run_ms } });
    a.say(ran(2_000));
    b.say(ran(9_000));
    await Promise.all([answered(a), answered(b)]);
    expect((await pool.stub().status()).typical_ms).toEqual({});
    a.say(ran(3_000));
    await answered(a);
    expect((await pool.stub().status()).typical_ms).toEqual({ [SHAPE]: 3_000 });
    await evictDurableObject(objectOf(pool));
    expect((await pool.stub().status()).typical_ms).toEqual({ [SHAPE]: 3_000 });
  });

  it("is told again by an agent that comes back, so that no deploy forgets it", async () => {
    const pool = await openPool();
    const agent = await controlSocket({ agent: "agent-a", name: "a" }, pool.pool);
    const runs = [1_000, 2_000, 4_000].map((run_ms) => ({ shape: SHAPE, run_ms }));
    const slots = [{ slot: 0, state: "idle" }];
    agent.say({ type: "hello", agent: "agent-a", instance: "one", version: "1", slots, capability_hash: "h", runs });
    await answered(agent);
    expect((await pool.stub().status()).typical_ms).toEqual({ [SHAPE]: 2_000 });
  });
});

describe("a job that an agent could not run", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: NOON });
  });
  afterEach(async () => {
    await quiet();
    vi.useRealTimers();
  });

  const say = async (socket: Awaited<ReturnType<typeof controlSocket>>, capability_hash: string) => {
    const slots = [{ slot: 0, state: "busy" }];
    socket.say({ type: "hello", agent: "agent-w", instance: "one", version: "1", slots, capability_hash });
    await answered(socket);
  };

  it("names what is missing, is kept from that agent, and is for it again once it tells of other models", async () => {
    const secret_sha256 = sha256Hex("agent-w");
    const keyid = keyIdSchema.parse("0000000w");
    await poolOf(bindings, POOL).createAgent({ agent: "agent-w", name: "w", keyid, secret_sha256 });
    const socket = await controlSocket({ agent: "agent-w", name: "w" });
    await say(socket, "h1");
    const account = await openAccount();
    const job = await account.submitOne();
    const agent = { agent: "agent-w", name: "w", pool: POOL };
    const missing = [{ kind: "model", name: "absent.safetensors" }];
    await pass(account, 1_000);
    const lease = await account.lease(job, { agent });
    await account.stub().release(lease, { reason: "cannot_run", missing });
    // Past the pause, and past the 5 s for which the pool's word is believed.
    await pass(account, 10_000);
    const refused = { ok: false, refusal: "not_for_you" };
    expect(await account.claim(job, { agent, attempt: 2 })).toEqual(refused);
    expect((await account.get(job)).waiting).toMatchObject({ reason: "no_agent_has_model", missing });
    // The same again is no news.
    await say(socket, "h1");
    expect(await account.claim(job, { agent, attempt: 2 })).toEqual(refused);
    await say(socket, "h2");
    expect((await account.claim(job, { agent, attempt: 2 })).ok).toBe(true);
    socket.socket.close(1000);
  });
});
