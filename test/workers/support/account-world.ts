/**
 * Owns one random life of a real account object: the clock, three agents, a client, faults, and what they all remember.
 * Invariant: after every command the rows are checked against every invariant; a violation throws with its name.
 */
import { runDurableObjectAlarm } from "cloudflare:test";
import { vi } from "vitest";
import { watchSteps } from "../../../src/objects/account/step.ts";
import type { RetentionDays } from "../../../src/protocol/bucket-keys.ts";
import { type JobId, jobIdSchema, type LeaseFields } from "../../../src/protocol/ids.ts";
import type { Role } from "../../../src/protocol/roles.ts";
import { objectOf, type TestAccount } from "./account.ts";
import { type Known, violations } from "./account-invariants.ts";
import { isActive, type LiveRow, type Rows, readRows } from "./account-rows.ts";

/** What a run must have seen at least once over all runs. */
export const SOMETIMES = [
  "lease lost and recovered",
  "stale commit refused",
  "cancel beat commit",
  "commit beat cancel",
  "duplicate claim refused",
  "doorbell sent again",
  "poison reached",
  "slot freed by expiry",
  "replayed submit",
  "alarm ran twice",
  "submit refused at the limit",
  "died with an answer unseen",
] as const;
export type Sometimes = (typeof SOMETIMES)[number];
export const seen = new Map<Sometimes, number>();
export function sometimes(what: Sometimes): void {
  seen.set(what, (seen.get(what) ?? 0) + 1);
}

/** `answer`: what its agent was told when the attempt ended. */
export type HeldLease = { fields: LeaseFields; answer: string | null };
export type Fault = { step: string; phase: "before" | "after" };

export class World {
  readonly account: TestAccount;
  readonly limits: Known["limits"];
  readonly retention: RetentionDays;
  readonly jobs: JobId[] = [];
  readonly accepted = new Set<string>();
  readonly keys = new Map<string, JobId>();
  readonly cancelled = new Set<string>();
  readonly manifests = new Map<string, string[]>();
  readonly leases: HeldLease[] = [];
  unsure = 0;
  rows: Rows | null = null;
  faults: Fault[] = [];
  readonly #deaf: boolean;
  /** The latest moment this life has seen. */
  #latest = Date.now();
  #inFlight = 0;

  /** `deaf`: queue, pool and progress objects are down all the time; rows and alarms alone must carry the account. */
  constructor(account: TestAccount, role: Role, deaf: boolean) {
    this.account = account;
    this.#deaf = deaf;
    this.limits = role;
    this.retention = role.retention_days;
    watchSteps((name, phase) => this.#onStep(name, phase));
  }

  /** A fault throws before or after its step: it did not happen, or it did and nobody heard of it. */
  #onStep(name: string, phase: "before" | "after" | "failed"): void {
    if (name === "hints.gather" || name === "hints.send") return;
    if (this.#deaf && phase === "before") throw new Error(`${name} is down`);
    this.#inFlight += phase === "before" ? 1 : -1;
    const i = this.faults.findIndex((f) => f.step === name && f.phase === phase);
    if (i < 0) return;
    this.faults.splice(i, 1);
    if (phase === "before") this.#inFlight--;
    throw new Error(`injected ${phase} ${name}`);
  }

  /** Waits for the work behind the last answer, then checks everything. */
  async check(what: string): Promise<Rows> {
    await this.rest();
    const before = this.rows;
    this.rows = await readRows(this.account.account);
    const known: Known = {
      accepted: this.accepted,
      unsure: this.unsure,
      cancelled: this.cancelled,
      manifests: this.manifests,
      limits: this.limits,
    };
    const found = violations(before, this.rows, known, Date.now());
    const usage = await this.account.stub().usage(this.account.auth);
    const active = this.rows.live.filter(isActive).length;
    if (!usage.ok || usage.value.active !== active) found.push(`I2: ${active} slots by the rows, not by the object`);
    if (found.length > 0) throw new Error(`after ${what}: ${found.join("; ")}`);
    return this.rows;
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
    for (const { job } of (await readRows(this.account.account)).jobs) this.accept(jobIdSchema.parse(job));
  }

  accept(job: JobId): void {
    if (this.accepted.has(job)) return;
    this.accepted.add(job);
    this.jobs.push(job);
  }

  /** The `n`th of the jobs so far, counting round. */
  job(n: number): JobId | null {
    return this.jobs[n % Math.max(this.jobs.length, 1)] ?? null;
  }

  lease(n: number): HeldLease | null {
    return this.leases[n % Math.max(this.leases.length, 1)] ?? null;
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
    const rows = await readRows(this.account.account);
    const outcome = rows.jobs.find((j) => j.job === job)?.doc.outcome;
    const attempts = outcome?.attempts ?? rows.live.find((r) => r.job === job)?.memo.attempts ?? [];
    return attempts.find((a) => a.attempt === attempt && a.nonce === nonce)?.answer ?? null;
  }

  /** After an abort nothing that was in flight ever ends. */
  forgetFlight(): void {
    this.#inFlight = 0;
  }

  tick(ms: number): void {
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
    const { alarm } = await readRows(this.account.account);
    if (alarm !== null && alarm <= Date.now()) await this.alarm();
  }
}
