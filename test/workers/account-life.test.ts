import { describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings, METRICS, openAccount, POOL, renewal, seenAs } from "./support/account.ts";
import { agentNamed, beginAtNoon, completeWell, failure, filesOf, NOON, pass } from "./support/attempts.ts";
import { controlSocket, type TestSocket } from "./support/sockets.ts";

beginAtNoon();

const status = (value: string) => ({ ok: true, value: { status: value } });
/** An admitted agent of the pool with its control socket open. */
async function online(agent: string): Promise<TestSocket> {
  const secret_sha256 = sha256Hex(agent);
  await poolOf(bindings, POOL).createAgent({
    agent,
    name: agent,
    keyid: keyIdSchema.parse(agent.replace("-", "00")),
    secret_sha256,
  });
  const socket = await controlSocket({ agent, name: agent });
  const slots = [{ slot: 0, state: "busy" }];
  socket.say({ type: "hello", agent, instance: "one", version: "1", slots, capability_hash: "h" });
  return socket;
}

const lost = { ok: false, refusal: { refusal: "lease_lost" } };

describe("a claim", () => {
  it("is granted to one of many at the same moment (I19)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const claims = await Promise.all(Array.from({ length: 10 }, () => account.claim(job)));
    expect(claims.filter((c) => c.ok)).toHaveLength(1);
    expect(claims.filter((c) => !c.ok && c.refusal === "already_claimed")).toHaveLength(9);
  });

  it("asked again with the same id after a lost reply gets the same attempt, another agent does not", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const claim_id = "claim-0123456789abcdef";
    const first = await account.claim(job, { claim_id });
    vi.setSystemTime(NOON + 1_000);
    const again = await account.claim(job, { claim_id });
    expect(again).toMatchObject({
      ok: true,
      value: { nonce: first.ok && first.value.nonce, lease_expires_in_ms: 19_000 },
    });
    expect(await account.claim(job, { claim_id, ...agentNamed("agent-b") })).toEqual({
      ok: false,
      refusal: "already_claimed",
    });
  });

  it("is refused by name: gone, wrong pool, a later attempt", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const { poolNameSchema } = await import("../../src/protocol/ids.ts");
    const elsewhere = { agent: { agent: "x", name: "x", pool: poolNameSchema.parse("other") } };
    expect(await account.claim(job, elsewhere)).toEqual({ ok: false, refusal: "wrong_pool" });
    expect(await account.claim(job, { attempt: 2 })).toEqual({ ok: false, refusal: "gone" });
    await account.stub().cancelJob(account.auth, job);
    expect(await account.claim(job)).toEqual({ ok: false, refusal: "gone" });
  });

  it("of a stale doorbell is gone once the job is at a later attempt", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.stub().release(await account.lease(job), { reason: "drain", missing: [] });
    expect(await account.claim(job, { attempt: 1 })).toEqual({ ok: false, refusal: "gone" });
    expect((await account.claim(job, { attempt: 2 })).ok).toBe(true);
  });

  it("by an agent that cannot run the job is not asked of it again for ten minutes", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const missing = [{ kind: "checkpoint", name: "x.safetensors" }];
    await account.stub().release(await account.lease(job), { reason: "cannot_run", missing });
    expect(await account.claim(job, { attempt: 2, ...agentNamed("agent-b") })).toEqual({
      ok: false,
      refusal: "not_yet",
    });
    await pass(account, 5_000);
    expect(await account.claim(job, { attempt: 2 })).toEqual({ ok: false, refusal: "not_for_you" });
    expect((await account.claim(job, { attempt: 2, ...agentNamed("agent-b") })).ok).toBe(true);
  });

  it("by the agent that lost the job is refused while another agent lives, and granted when none does", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.lease(job);
    const others = await Promise.all(["agent-a", "agent-b"].map(online));
    await vi.waitFor(async () => expect((await poolOf(bindings, POOL).status()).able).toHaveLength(2));
    await pass(account, 20_000);
    expect(await account.claim(job, { attempt: 2 })).toEqual({ ok: false, refusal: "not_for_you" });
    for (const { socket } of others) socket.close(1000);
    await vi.waitFor(async () => expect((await poolOf(bindings, POOL).status()).agents.online).toBe(0));
    vi.setSystemTime(Date.now() + 6_000);
    expect((await account.claim(job, { attempt: 2 })).ok).toBe(true);
  });

  it("ahead leaves the job queued, outside the run deadline, until it says that it executes", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job, { ahead: true });
    await account.stub().renew(lease, renewal({ phase: "preparing", progress: 0 }));
    expect(await account.get(job)).toMatchObject({ status: "queued", started_at: null, waiting: null, attempt: 1 });
    vi.setSystemTime(NOON + 30_000);
    await account.stub().renew(lease, renewal());
    expect(await account.get(job)).toMatchObject({ status: "running", started_at: NOON + 30_000 });
    expect(await completeWell(account, lease)).toEqual(status("succeeded"));
  });
});

describe("a lease", () => {
  it("brings what ComfyUI said into the job, each line once however often it is told, and keeps it after the end", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    const line = (n: number) => ({ ts: "2026-01-01T00:00:00.000Z", level: "warn" as const, message: `line ${n}` });
    await account.stub().renew(lease, renewal({ logs: [line(1)] }));
    await account.stub().renew(lease, renewal({ logs: [line(1), line(2)] }));
    expect((await account.get(job))?.logs).toEqual([line(1), line(2)]);
    await account.stub().fail(lease, { ...failure(false), logs: [line(1), line(2), line(3)] });
    expect((await account.get(job))?.logs).toEqual([line(1), line(2), line(3)]);
  });

  it("that is not the present one changes nothing and is told so (I20)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const old = await account.lease(job);
    const files = await filesOf(account, old);
    await pass(account, 20_000);
    const present = await account.lease(job, { attempt: 2, ...agentNamed("agent-b") });
    const before = await account.get(job);
    expect(await account.stub().renew(old, renewal({ progress: 0.9 }))).toMatchObject({ answer: "lost" });
    expect(await account.stub().grantUploads(old)).toEqual(lost);
    expect(await account.stub().complete(old, files, seenAs(files), METRICS)).toEqual(lost);
    expect(await account.stub().fail(old, failure(false))).toEqual(lost);
    expect(await account.stub().release(old, { reason: "drain", missing: [] })).toEqual(lost);
    expect(await account.stub().stopped(old, { how: "killed", gpu_idle_after_ms: null })).toEqual(lost);
    await account.stub().agentLost(old);
    expect(await account.get(job)).toEqual(before);
    expect(await completeWell(account, present)).toEqual(status("succeeded"));
  });

  it("of another account is lost, though everything else in it is right (I49)", async () => {
    const [account, other] = [await openAccount(), await openAccount()];
    const job = await account.submitOne();
    const lease = { ...(await account.lease(job)), account: other.account };
    const before = await account.get(job);
    expect(await account.stub().renew(lease, renewal())).toMatchObject({ answer: "lost" });
    expect(await account.stub().grantUploads(lease)).toEqual(lost);
    expect(await account.stub().fail(lease, failure(false))).toEqual(lost);
    await account.stub().agentLost(lease);
    expect(await account.get(job)).toEqual(before);
  });

  it("first lasts 20 s, and 60 s from each renewal", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    await pass(account, 19_999);
    await account.stub().renew(lease, renewal());
    await pass(account, 59_999);
    expect((await account.get(job)).status).toBe("running");
    await pass(account, 1);
    expect(await account.get(job)).toMatchObject({ status: "queued", attempt: 1 });
  });

  it("ends 9 s after its agent was lost, unless a renewal comes", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    await account.stub().renew(lease, renewal());
    await account.stub().agentLost(lease);
    expect(await account.stub().renew(lease, renewal())).toEqual({ answer: "continue", lease_expires_in_ms: 60_000 });
    await account.stub().agentLost(lease);
    await pass(account, 8_999);
    expect((await account.get(job)).status).toBe("running");
    await pass(account, 1);
    expect((await account.get(job)).status).toBe("queued");
  });

  it("lost by two agents after they began makes the job poison (I16)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.lease(job);
    await pass(account, 20_000);
    await account.lease(job, { attempt: 2, ...agentNamed("agent-b") });
    await pass(account, 20_000);
    expect(await account.get(job)).toMatchObject({ status: "failed", error: { code: "POISON" }, attempt: 2 });
  });

  it("hears the same answer for ever, though the job moved on (I23)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const first = await account.lease(job);
    expect(await account.stub().fail(first, failure(true))).toEqual(status("queued"));
    await pass(account, 6_000);
    const second = await account.lease(job, { attempt: 2 });
    const files = await filesOf(account, second);
    expect(await account.stub().complete(second, files, seenAs(files), METRICS)).toEqual(status("succeeded"));
    expect(await account.stub().fail(first, failure(true))).toEqual(status("queued"));
    expect(await account.stub().complete(second, files, seenAs(files), METRICS)).toEqual(status("succeeded"));
    const other = files.map((f) => ({ ...f, sha256: "f".repeat(64) }));
    expect(await account.stub().complete(second, other, seenAs(other), METRICS)).toEqual(lost);
  });
});

describe("a manifest", () => {
  it("unlike what the bucket holds commits nothing, and the job is tried again (I30, F71)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    const files = await filesOf(account, lease);
    const seen = seenAs(files).map((s) => ({ ...s, size_bytes: 1 }));
    expect(await account.stub().complete(lease, files, seen, METRICS)).toEqual(status("queued"));
    expect(await account.get(job)).toMatchObject({ status: "queued", artifacts: [], waiting: { reason: "backoff" } });
  });

  it("without an output fails the job", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    expect(await account.stub().complete(lease, [], [], METRICS)).toEqual(status("failed"));
    expect((await account.get(job)).error?.code).toBe("NO_OUTPUTS");
  });
});

describe("a cancel", () => {
  it("of a queued job is terminal at once, and nothing executes (I29)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    expect(await account.stub().cancelJob(account.auth, job)).toMatchObject({
      value: { changed: true, record: { status: "canceled" } },
    });
    expect(await account.stub().cancelJob(account.auth, job)).toMatchObject({ value: { changed: false } });
    expect(await account.claim(job)).toEqual({ ok: false, refusal: "gone" });
  });

  it("of a running job beats a complete that comes after it (I25, I26)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    const files = await filesOf(account, lease);
    const twice = await Promise.all([1, 2].map(() => account.stub().cancelJob(account.auth, job)));
    for (const answer of twice)
      expect(answer).toMatchObject({ value: { changed: true, record: { status: "canceling" } } });
    expect(await account.stub().renew(lease, renewal())).toMatchObject({ answer: "cancel" });
    expect(await account.stub().grantUploads(lease)).toEqual(lost);
    expect(await account.stub().complete(lease, files, seenAs(files), METRICS)).toEqual(status("canceled"));
    expect(await account.get(job)).toMatchObject({ status: "canceled", artifacts: [], cancel_requested: true });
    expect(await account.stub().renew(lease, renewal())).toMatchObject({ answer: "lost" });
  });

  it("after a complete changes nothing and says so (I27)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await completeWell(account, await account.lease(job));
    const before = await account.get(job);
    expect(await account.stub().cancelJob(account.auth, job)).toMatchObject({ value: { changed: false } });
    expect(await account.get(job)).toEqual(before);
  });

  it("ends a job whose agent is dead within its grace of 8 s", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    await account.stub().renew(lease, renewal());
    await account.stub().cancelJob(account.auth, job);
    await pass(account, 7_999);
    expect((await account.get(job)).status).toBe("canceling");
    await pass(account, 1);
    expect((await account.get(job)).status).toBe("canceled");
    expect(await account.stub().stopped(lease, { how: "killed", gpu_idle_after_ms: 1 })).toEqual(lost);
  });

  it("keeps how long the GPU took to be idle", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    await account.stub().cancelJob(account.auth, job);
    expect(await account.stub().stopped(lease, { how: "interrupted", gpu_idle_after_ms: 25 })).toEqual(
      status("canceled"),
    );
    expect((await account.get(job)).receipt?.gpu_idle_after_cancel_ms).toBe(25);
  });
});
