/**
 * Owns one account's jobs: the Durable Object that alone writes them. Thin: one file per verb beside it.
 * Invariant: a job's state lives here and nowhere else; every change is one synchronous transaction.
 */
import { DurableObject } from "cloudflare:workers";
import { type Env, settingsOf } from "../../platform/env.ts";
import { macsOf } from "../../platform/macs.ts";
import type {
  AttemptMetrics,
  FailRequest,
  ManifestEntry,
  ReleaseRequest,
  RenewRequest,
  StoppedRequest,
} from "../../protocol/agent-api.ts";
import { accountIdSchema, type JobId, type KeyId, type LeaseFields, type PoolName } from "../../protocol/ids.ts";
import { openDatabase } from "../../storage/account/database.ts";
import { alarmsOf } from "../alarms.ts";
import type {
  AccountProfile,
  AccountRpc,
  Auth,
  ClaimCommand,
  KeyProof,
  ListQuery,
  NewKey,
  RerunCommand,
  SeenObject,
  SubmitCommand,
} from "../contract.ts";
import { awaitEnd } from "./await-end.ts";
import { cancelJob } from "./cancel.ts";
import { claim } from "./claim.ts";
import type { AccountContext } from "./context.ts";
import { flushCounts } from "./counters.ts";
import { bootstrap, createKey, listKeys, provision, revokeKey, verifyKey } from "./credentials.ts";
import { runAlarm } from "./drain.ts";
import { eraseData } from "./erase-data.ts";
import { complete, fail, release, stopped } from "./finish.ts";
import { heal } from "./heal.ts";
import { hintsOf } from "./hints.ts";
import { poolStanding } from "./pool-standing.ts";
import { admitViewer, getJob, listEvents, listJobs, snapshot, usage } from "./read.ts";
import { agentLost, grantUploads, renew } from "./renew.ts";
import { rerunJob } from "./rerun.ts";
import { submit } from "./submit.ts";
import { doorbellDied } from "./sweep.ts";
import { newWaiters } from "./waiters.ts";

export class AccountObject extends DurableObject<Env> implements AccountRpc {
  readonly #context: AccountContext;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#context = contextOf(state, env);
    // The one await before any verb: whether an alarm is set decides whether a verb has to set one.
    void state.blockConcurrencyWhile(() => this.#context.alarms.load());
  }

  /** Every request finds a missing or overdue alarm, and passes on what was counted. */
  get #ctx(): AccountContext {
    const ctx = this.#context;
    heal(ctx);
    const flushed = flushCounts(ctx.env, ctx.now(), ctx.random());
    if (flushed) ctx.background(flushed);
    return ctx;
  }

  async submit(command: SubmitCommand) {
    return submit(this.#ctx, command);
  }
  async getJob(auth: Auth, job: JobId) {
    return getJob(this.#ctx, auth, job);
  }
  async admitViewer(auth: Auth, job: JobId) {
    return admitViewer(this.#ctx, auth, job);
  }
  async listJobs(auth: Auth, query: ListQuery) {
    return listJobs(this.#ctx, auth, query);
  }
  async listEvents(auth: Auth, job: JobId, afterRevision: number) {
    return listEvents(this.#ctx, auth, job, afterRevision);
  }
  async cancelJob(auth: Auth, job: JobId) {
    return cancelJob(this.#ctx, auth, job);
  }
  async rerunJob(command: RerunCommand) {
    return rerunJob(this.#ctx, command);
  }
  async eraseData(auth: Auth, job: JobId) {
    return eraseData(this.#ctx, auth, job);
  }
  async awaitEnd(auth: Auth, jobs: JobId[], waitMs: number) {
    return awaitEnd(this.#ctx, auth, jobs, waitMs);
  }
  async poolStanding(auth: Auth, pool: PoolName | null) {
    return poolStanding(this.#ctx, auth, pool);
  }
  async usage(auth: Auth) {
    return usage(this.#ctx, auth);
  }
  async claim(command: ClaimCommand) {
    return claim(this.#ctx, command);
  }
  async renew(lease: LeaseFields, request: RenewRequest) {
    return renew(this.#ctx, lease, request);
  }
  async grantUploads(lease: LeaseFields) {
    return grantUploads(this.#ctx, lease);
  }
  async complete(lease: LeaseFields, artifacts: ManifestEntry[], seen: SeenObject[], metrics: AttemptMetrics) {
    return complete(this.#ctx, lease, artifacts, seen, metrics);
  }
  async fail(lease: LeaseFields, request: FailRequest) {
    return fail(this.#ctx, lease, request);
  }
  async release(lease: LeaseFields, request: ReleaseRequest) {
    return release(this.#ctx, lease, request);
  }
  async stopped(lease: LeaseFields, request: StoppedRequest) {
    return stopped(this.#ctx, lease, request);
  }
  async agentLost(lease: LeaseFields) {
    agentLost(this.#ctx, lease);
  }
  async doorbellDied(job: JobId, attempt: number) {
    doorbellDied(this.#ctx, job, attempt);
  }
  async snapshot(job: JobId) {
    return snapshot(this.#ctx, job);
  }
  async provision(profile: AccountProfile) {
    provision(this.#ctx, profile);
  }
  async verifyKey(proof: KeyProof) {
    return verifyKey(this.#ctx, proof);
  }
  async createKey(key: NewKey) {
    return createKey(this.#ctx, key);
  }
  async listKeys() {
    return listKeys(this.#ctx);
  }
  async revokeKey(keyid: KeyId) {
    return revokeKey(this.#ctx, keyid);
  }
  async bootstrap(key: NewKey) {
    return bootstrap(this.#ctx, key);
  }

  override async alarm(): Promise<void> {
    await runAlarm(this.#context);
  }
}

function contextOf(state: DurableObjectState, env: Env): AccountContext {
  const settings = settingsOf(env);
  const macs = macsOf(settings);
  const account = accountIdSchema.parse(state.id.name);
  const now = () => Date.now();
  const background = (work: Promise<unknown>) => state.waitUntil(work.catch(() => undefined));
  return {
    account,
    env,
    settings,
    macs,
    database: openDatabase(state.storage),
    alarms: alarmsOf(state.storage),
    hints: hintsOf({ account, env, settings, macs, now, background }),
    waiters: newWaiters(),
    now,
    random: () => Math.random(),
    background,
  };
}
