/**
 * Owns the crash matrix: the account object dies at each of its awaits, before the effect and after it.
 *
 * The awaits are found in the source by their step names, so a new one is in the matrix as soon as it exists.
 */
import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type StepPhase, watchSteps } from "../../src/objects/account/step.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { attemptPrefix } from "../../src/protocol/bucket-keys.ts";
import { jobIdSchema, keyIdSchema, type LeaseFields } from "../../src/protocol/ids.ts";
import { DEFAULT_ROLES } from "../../src/protocol/roles.ts";
import { bindings, clientOf, METRICS, newJob, objectOf, openAccount, POOL, renewal } from "./support/account.ts";
import { imageUnder, lookAt, upload } from "./support/account-bucket.ts";
import { statusOf } from "./support/account-invariants.ts";
import { comeToRest } from "./support/account-rest.ts";
import { readRows } from "./support/account-rows.ts";
import { World } from "./support/account-world.ts";
import { openDirectory } from "./support/directory.ts";

const OPERATOR = { by: "operator", actor: "ops", request_id: "req_test" } as const;
const SPARE_KEY = { keyid: keyIdSchema.parse("spare000"), kind: "user" } as const;
const NOON = Date.UTC(2030, 0, 2, 12);
const sources = (import.meta as unknown as { glob(pattern: string, options: object): { [file: string]: string } }).glob(
  "../../src/objects/account/*.ts",
  { query: "?raw", import: "default", eager: true },
);
const names = Object.values(sources).flatMap((text) => [...text.matchAll(/\bstep\("([^"]+)"/g)].map((m) => m[1] ?? ""));
const points = names.flatMap((name) => (["before", "after"] as const).map((phase) => ({ name, phase })));

beforeAll(openDirectory);
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(() => {
  watchSteps(null);
  vi.useRealTimers();
});

/** Where the object died, and whether it got there. */
class Crash {
  reached = false;
  #done = false;
  readonly #name: string;
  readonly #phase: StepPhase;

  constructor(name: string, phase: StepPhase) {
    this.#name = name;
    this.#phase = phase;
    watchSteps((at, when) => this.#onStep(at, when));
  }

  async #onStep(name: string, phase: StepPhase): Promise<void> {
    if (this.reached || name !== this.#name || phase !== this.#phase) return;
    this.reached = true;
    // Held here until the object is gone.
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  }

  /** Runs one call; when the point is reached on the way, the object dies there and the caller asks once more. */
  async survive<T>(call: () => Promise<T>): Promise<T> {
    const first = call().then(
      (value) => ({ value }),
      () => null,
    );
    let answered = false;
    void first.then(() => {
      answered = true;
    });
    // What an answer leaves behind gets a few turns to reach the point, too.
    for (let turns = 0; turns < 400 && !(this.reached && !this.#done); turns++) {
      if (answered && turns > 12) break;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (!this.reached || this.#done) return answerOf(await first);
    this.#done = true;
    await abortAllDurableObjects();
    const known = await first;
    return known ? known.value : call();
  }
}

function answerOf<T>(known: { value: T } | null): T {
  if (!known) throw new Error("a call failed that nothing had disturbed");
  return known.value;
}

type Account = Awaited<ReturnType<typeof openAccount>>;

async function submitted(account: Account, crash: Crash, world: World, key: string) {
  const over = { idempotency: { key, fingerprint: "f" } };
  // Its end is told to a target that the consumer refuses: handed over, and nothing is dialled.
  const asked = newJob({ webhook_url: "https://127.0.0.1/" });
  const result = await crash.survive(() => account.submit([asked], over));
  const job = result.ok ? result.value.records[0]?.job : undefined;
  if (!job) throw new Error("a submit was refused");
  world.accept(job);
  // Somebody watches: what nobody does is not told.
  await crash.survive(() => account.stub().admitViewer(account.auth, job));
  return job;
}

async function claimed(
  account: Account,
  crash: Crash,
  job: string,
  attempt: number,
  agent: string,
): Promise<LeaseFields> {
  const identity = { agent, name: agent, pool: POOL };
  const id = jobIdSchema.parse(job);
  const over = { attempt, agent: identity, claim_id: `claim-${attempt}-0123456789` };
  const result = await crash.survive(() => account.claim(id, over));
  if (!result.ok) throw new Error(`claim of attempt ${attempt}: ${result.refusal}`);
  return { account: account.account, job: id, attempt, nonce: result.value.nonce };
}

/** A life that passes every await of the object: three jobs, one done, one cancelled, one retried and cleaned up. */
async function life(account: Account, crash: Crash, world: World): Promise<void> {
  const submit = (key: string) => submitted(account, crash, world, key);
  const claim = (job: string, attempt: number, agent: string) => claimed(account, crash, job, attempt, agent);
  const pass = async (ms: number) => {
    vi.setSystemTime(Date.now() + ms);
    await crash.survive(() => world.alarmIfDue());
  };

  const [done, cancelled, retried, unclaimed] = [
    await submit("1"),
    await submit("2"),
    await submit("3"),
    await submit("4"),
  ];
  await crash.survive(() => account.get(done));
  const first = await claim(done, 1, "agent-a");
  await crash.survive(() => account.stub().renew(first, renewal()));
  await crash.survive(() => account.get(done));
  await account.stub().createKey({ ...SPARE_KEY, secret_sha256: "0".repeat(64), name: "spare", expires_at: null });
  await crash.survive(() => account.stub().revokeKey(SPARE_KEY.keyid, OPERATOR));
  await claim(cancelled, 1, "agent-b");
  await crash.survive(() => account.stub().cancelJob(account.auth, cancelled));
  await crash.survive(() => account.stub().cancelJob(account.auth, unclaimed));
  world.cancelled.add(cancelled).add(unclaimed);
  const granted = await account.stub().grantUploads(first);
  if (!granted.ok) throw new Error("no upload");
  const file = imageUnder(granted.value.prefix);
  world.manifests.set(done, [file.key]);
  await upload(file.key, false);
  const seen = await lookAt([file]);
  const complete = () => account.stub().complete(first, [file], seen, METRICS);
  expect(await crash.survive(complete)).toEqual({ ok: true, value: { status: "succeeded" } });
  await crash.survive(() => account.stub().awaitEnd(account.auth, [done, retried], 20));
  const lost = await claim(retried, 1, "agent-a");
  await bindings.ARTIFACTS.put(orphanOf(lost), "bytes");
  await pass(21_000);
  // The agent that lost it asks again: the object asks the pool whether others live.
  const again = await claim(retried, 2, "agent-a");
  await crash.survive(() => account.stub().fail(again, failed));
  await pass(3_700_000);
  // Whatever was cut off is repeated: an end within 30 s, a deletion within a minute.
  await pass(70_000);
  expect(await bindings.ARTIFACTS.head(orphanOf(lost))).toBeNull();
}

/** A life of its own, for the awaits that only a tenant and its parent pass: one is made, and goes with the other. */
async function tenancy(crash: Crash): Promise<void> {
  const parent = await openAccount("internal");
  const tenant = clientOf(tenantAccountId(parent.account, "bob"), parent.keyid);
  const auth = { by: "parent", parent: parent.account, keyid: parent.keyid, user_id: "bob", region: null } as const;
  expect(await crash.survive(() => tenant.submit([newJob()], { auth }))).toMatchObject({ ok: true });
  const pass = async ({ account }: typeof parent) => {
    vi.setSystemTime(Date.now() + 3_700_000);
    await crash.survive(() => runDurableObjectAlarm(objectOf(account)));
  };
  await pass(tenant);
  await pass(tenant);
  await crash.survive(() => parent.stub().eraseAccount(OPERATOR));
  await pass(parent);
  await pass(parent);
  expect(await tenant.stub().account()).toMatchObject({ erased_at: expect.any(Number) });
}

function orphanOf({ account, job, attempt, nonce }: LeaseFields): string {
  return `${attemptPrefix(DEFAULT_ROLES.internal.retention_days, account, job, attempt, nonce)}/0.png`;
}

const failed = {
  code: "COMFYUI_EXECUTION",
  message: "failed",
  transient: false,
  node_id: null,
  node_type: null,
  metrics: METRICS,
} as const;

describe("dying at an await", () => {
  it.each(points)("$phase $name loses no job, commits none twice and leaks no slot (F55)", async ({ name, phase }) => {
    const account = await openAccount("internal");
    const world = new World(account, DEFAULT_ROLES.internal, "all");
    const crash = new Crash(name, phase);
    await life(account, crash, world);
    if (!crash.reached) await tenancy(crash);
    expect(crash.reached, `no call of this test passes ${name}`).toBe(true);
    watchSteps(null);
    await comeToRest(world).finally(() => world.stop());
    const { rows } = await readRows(account.account);
    const ends = world.jobs.map((job) => statusOf(rows, job));
    expect(ends).toEqual(["succeeded", "canceled", "failed", "canceled"]);
    expect({ live: rows.live, outbox: rows.outbox }).toEqual({ live: [], outbox: [] });
  });
});

describe("dying before the commit is durable", () => {
  it("leaves nothing behind, and the same key makes exactly one job (F56)", async () => {
    const account = await openAccount("internal");
    const over = { idempotency: { key: "k", fingerprint: "f" } };
    const storage = await runInDurableObject(objectOf(account.account), (_, state) => {
      const prototype = Object.getPrototypeOf(state.storage) as { setAlarm(at: number): Promise<void> };
      const { setAlarm } = prototype;
      // The alarm is set in the same turn as the rows: the object dies in the middle of that turn.
      prototype.setAlarm = () => {
        prototype.setAlarm = setAlarm;
        state.abort("died before the commit");
        return Promise.resolve();
      };
      return { restore: () => (prototype.setAlarm = setAlarm) };
    });
    const first = await account.submit([newJob()], over).then(
      () => "answered",
      () => "died",
    );
    storage.restore();
    expect(first).toBe("died");
    expect((await readRows(account.account)).rows.jobs).toEqual([]);
    expect(await account.submit([newJob()], over)).toMatchObject({ ok: true, value: { replayed: false } });
    expect(await account.submit([newJob()], over)).toMatchObject({ ok: true, value: { replayed: true } });
    expect((await readRows(account.account)).rows.jobs).toHaveLength(1);
  });
});
