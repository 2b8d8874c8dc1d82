/**
 * Owns one random life of a real account object: the clock, three agents, a client, faults, and what they all remember.
 * Invariant: after every command the rows are checked against every invariant; a violation throws with its name.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { vi } from "vitest";
import { watchSteps } from "../../../src/objects/account/step.ts";
import type { RetentionDays } from "../../../src/protocol/bucket-keys.ts";
import { type JobId, jobIdSchema, type LeaseFields } from "../../../src/protocol/ids.ts";
import type { Role } from "../../../src/protocol/roles.ts";
import { objectOf, POOL, type TestAccount } from "./account.ts";
import { isThere } from "./account-bucket.ts";
import { Doorbells } from "./account-doorbells.ts";
import { type Limits, violations } from "./account-invariants.ts";
import { holds, lives } from "./account-ledger.ts";
import { isActive, type LiveRow, type Rows, readRows } from "./account-rows.ts";

/** `answer`: what its agent was told when the attempt ended. `fence`: until when its agent may run, by its own clock. */
export type HeldLease = { fields: LeaseFields; answer: string | null; fence: number };
/** What is up: everything; the queue, but no pool and no progress objects; nothing but the account itself. */
export type Surroundings = "all" | "queue" | "none";
export type Fault = { step: string; phase: "before" | "after" };

export class World {
  readonly account: TestAccount;
  limits: Limits;
  readonly retention: RetentionDays;
  readonly jobs: JobId[] = [];
  readonly accepted = new Set<string>();
  readonly keys = new Map<string, JobId>();
  readonly cancelled = new Set<string>();
  readonly neverClaimed = new Set<string>();
  readonly manifests = new Map<string, string[]>();
  readonly leases: HeldLease[] = [];
  readonly doorbells: Doorbells;
  readonly up: Surroundings;
  rows: Rows | null = null;
  faults: Fault[] = [];
  /** The account's clock was set, so its leases and the agents' own clocks disagree. */
  stepped = false;
  /** The agents' clock: monotonic, never set. Milliseconds. */
  agentsNow = 0;
  readonly #role: Role;
  readonly #name: string;
  /** The latest moment this life has seen. */
  #latest = Date.now();
  #inFlight = 0;

  constructor(account: TestAccount, role: Role, up: Surroundings, name = "internal") {
    this.account = account;
    this.up = up;
    this.limits = role;
    this.#role = role;
    this.#name = name;
    this.retention = role.retention_days;
    this.doorbells = new Doorbells(account.account);
    watchSteps((step, phase) => this.#onStep(step, phase));
  }

  /** Puts everything back that was put in the object's way. */
  stop(): void {
    this.doorbells.stop();
    watchSteps(null);
  }

  /** A fault throws before or after its step: it did not happen, or it did and nobody heard of it. */
  #onStep(name: string, phase: "before" | "after" | "failed"): void {
    if (["hints.gather", "hints.send", "counters.gather"].includes(name)) return;
    if (phase === "before" && this.#isDown(name)) throw new Error(`${name} is down`);
    this.#inFlight += phase === "before" ? 1 : -1;
    const i = this.faults.findIndex((f) => f.step === name && f.phase === phase);
    if (i < 0) return;
    this.faults.splice(i, 1);
    if (phase === "before") this.#inFlight--;
    throw new Error(`injected ${phase} ${name}`);
  }

  /** Where nothing is up, rows and alarms alone must carry the account. */
  #isDown(step: string): boolean {
    return this.up === "none" || (this.up === "queue" && step !== "hints.doorbell" && !step.startsWith("drain."));
  }

  /** Waits for the work behind the last answer, then checks everything. */
  async check(what: string): Promise<Rows> {
    lives.commands++;
    await this.rest();
    const before = this.rows;
    const { rows, active } = await readRows(this.account.account);
    this.rows = rows;
    const { accepted, cancelled, manifests, limits } = this;
    const known = { accepted, cancelled, manifests, limits, active, never_claimed: this.neverClaimed };
    const now = Date.now();
    this.#latest = Math.max(this.#latest, now);
    const found = violations(before, rows, known, now, this.#latest);
    found.push(...this.#agentsViolations(rows), ...(await this.#bucketViolations(before, rows)));
    if (found.length > 0) throw new Error(`after ${what}: ${found.join("; ")}`);
    return rows;
  }

  /** I12 holds while no clock was set: an agent measures by its own. */
  #agentsViolations(rows: Rows): string[] {
    const ended = new Set(rows.jobs.filter((j) => j.doc.outcome !== null).map((j) => j.job));
    const running = this.stepped ? [] : this.leases.filter((l) => l.answer === null && l.fence > this.agentsNow);
    const found: string[] = running.flatMap(({ fields: { job, nonce, attempt } }) => {
      const isSo = ended.has(job) || rows.live.find((r) => r.job === job)?.nonce === nonce;
      return holds("I12", isSo, `attempt ${attempt} of ${job} still runs without its lease`) ? [] : [job];
    });
    const { wrong } = this.doorbells;
    if (!holds("I11", wrong.length === 0, `a doorbell said ${wrong[0]}`)) found.push("I11");
    return found.length > 0 ? [`I11, I12: ${found}`] : [];
  }

  /** What became visible in this step lies in the bucket as the manifest says. */
  async #bucketViolations(before: Rows | null, rows: Rows): Promise<string[]> {
    const found: string[] = [];
    for (const { job, doc } of rows.jobs) {
      const wasOver = before?.jobs.find((j) => j.job === job)?.doc.outcome;
      for (const artifact of wasOver ? [] : (doc.outcome?.artifacts ?? [])) {
        const isSo = artifact.key !== null && (await isThere(artifact.key, artifact.size_bytes));
        if (!holds("I30", isSo, `${artifact.key} is visible and not in the bucket`)) found.push(`I30: ${artifact.key}`);
      }
    }
    return found;
  }

  async rest(): Promise<void> {
    for (let turns = 0; turns < 2_000; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (this.#inFlight <= 0) return;
    }
    throw new Error(`${this.#inFlight} steps never ended`);
  }

  /** Jobs made by submits whose answer nobody saw: from now on they are as good as accepted. */
  async adopt(): Promise<void> {
    const { rows } = await readRows(this.account.account);
    for (const { job } of rows.jobs) this.accept(jobIdSchema.parse(job));
  }

  accept(job: JobId): void {
    if (this.accepted.has(job)) return;
    this.accepted.add(job);
    this.jobs.push(job);
  }

  /** Other limits from now on, as an operator sets them. */
  async limitTo(limits: Limits): Promise<void> {
    const profile = { role: this.#name, region: "wnam", name: "test", default_pool: POOL };
    // A plain copy: what fast-check makes has no prototype, and does not cross RPC.
    await this.account.stub().provision({ ...profile, limits: { ...limits } });
    this.limits = { ...this.#role, ...limits };
  }

  /** The `n`th of the jobs so far, counting round. */
  job(n: number): JobId | null {
    return this.jobs[n % Math.max(this.jobs.length, 1)] ?? null;
  }

  /** One of the present leases where there is one and `n` is small, else any there ever was. */
  lease(n: number): HeldLease | null {
    const present = this.leases.filter((l) => this.isPresent(l));
    const among = n < 2 && present.length > 0 ? present : this.leases;
    return among[n % Math.max(among.length, 1)] ?? null;
  }

  live(job: string): LiveRow | null {
    return this.rows?.live.find((r) => r.job === job && isActive(r)) ?? null;
  }

  /** Whether this is the lease the row holds, by the rows as last seen. */
  isPresent(lease: HeldLease): boolean {
    return this.live(lease.fields.job)?.nonce === lease.fields.nonce;
  }

  /** What the rows will tell this lease whenever it asks again; null: lost. */
  async keptAnswer(lease: HeldLease): Promise<string | null> {
    const { job, attempt, nonce } = lease.fields;
    const { rows } = await readRows(this.account.account);
    const outcome = rows.jobs.find((j) => j.job === job)?.doc.outcome;
    const attempts = outcome?.attempts ?? rows.live.find((r) => r.job === job)?.memo.attempts ?? [];
    return attempts.find((a) => a.attempt === attempt && a.nonce === nonce)?.answer ?? null;
  }

  /** After an abort nothing that was in flight ever ends. */
  forgetFlight(): void {
    this.#inFlight = 0;
  }

  /** Time passes, for the account and for the agents. */
  tick(ms: number): void {
    this.agentsNow += ms;
    this.#set(ms);
  }

  /** The account's clock alone is set. */
  step(ms: number): void {
    this.stepped = true;
    this.#set(ms);
  }

  #set(ms: number): void {
    vi.setSystemTime(Date.now() + ms);
    this.#latest = Math.max(this.#latest, Date.now());
  }

  /** A clock that was set back has come to where it was: what was due then is due again. */
  catchUp(): void {
    vi.setSystemTime(Math.max(this.#latest, Date.now()));
  }

  async alarm(): Promise<boolean> {
    return runDurableObjectAlarm(objectOf(this.account.account));
  }

  async alarmIfDue(): Promise<void> {
    const armed = await runInDurableObject(objectOf(this.account.account), (_, { storage }) => storage.getAlarm());
    if (armed !== null && armed <= Date.now()) await this.alarm();
  }
}
