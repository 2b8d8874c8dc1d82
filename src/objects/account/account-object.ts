/**
 * Owns one account's jobs: the Durable Object that alone writes them. Thin: one file per verb beside it.
 * Invariant: a job's state lives here and nowhere else; every change is one synchronous transaction.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../platform/env.ts";
import type {
  AttemptMetrics,
  FailRequest,
  ManifestEntry,
  ReleaseRequest,
  RenewRequest,
  StoppedRequest,
} from "../../protocol/agent-api.ts";
import type { AccountId, JobId, KeyId, LeaseFields, PoolName } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/progress.ts";
import type { DeliveryId, EndpointId, HookSigner } from "../../protocol/webhooks.ts";
import type {
  AccountChange,
  AccountProfile,
  AccountRpc,
  AgentNews,
  AskedJob,
  Asker,
  Auth,
  ClaimCommand,
  DeliveryQuery,
  DeliveryReport,
  EndpointChange,
  EndpointSpec,
  KeyProof,
  ListQuery,
  NewKey,
  Operator,
  RateKind,
  Replayable,
  RerunCommand,
  SeenObject,
  SubmitCommand,
  Successor,
} from "../contract.ts";
import { awaitEnd } from "./await-end.ts";
import { cancelJob } from "./cancel.ts";
import { claim } from "./claim.ts";
import type { AccountContext } from "./context.ts";
import { flushCounts } from "./counters.ts";
import {
  account,
  bootstrap,
  changeAccount,
  disableAccount,
  enableAccount,
  eraseAccount,
  provision,
} from "./credentials.ts";
import { recordAgent, tellDirectory } from "./directory.ts";
import { runAlarm } from "./drain.ts";
import { eraseData } from "./erase-data.ts";
import { complete, fail, release, stopped, takeBack } from "./finish.ts";
import { heal } from "./heal.ts";
import { createKey, expireKey, keysWatching, listKeys, ownKeys, revokeKey, rotateKey, verifyKey } from "./keys.ts";
import { contextOf } from "./open-context.ts";
import { poolStanding } from "./pool-standing.ts";
import { admitViewer, getEach, listEvents, listJobs, mayWatch, snapshot, usage } from "./read.ts";
import { metered, rate } from "./read-meter.ts";
import { recheckViewers } from "./recheck.ts";
import { agentLost, grantUploads, renew } from "./renew.ts";
import { rerunJob } from "./rerun.ts";
import { tidyNow, unreferenced } from "./retention.ts";
import { submit, submitEach } from "./submit.ts";
import { doorbellDied } from "./sweep.ts";
import { sweepNow } from "./sweep-now.ts";
import { adoptTenant, tenantsAfter } from "./tenants.ts";
import { getDelivery, listDeliveries, redeliver } from "./webhook-log.ts";
import { beginDelivery, endDelivery } from "./webhook-tries.ts";
import {
  changeEndpoint,
  createEndpoint,
  getEndpoint,
  hookSecret,
  listEndpoints,
  removeEndpoint,
  rotateHookSecret,
} from "./webhooks.ts";

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
    const flushed = flushCounts(ctx.env, ctx.now());
    if (flushed) ctx.background(flushed);
    return ctx;
  }

  async submit(command: SubmitCommand) {
    return submit(this.#ctx, command);
  }
  async submitEach(commands: SubmitCommand[]) {
    return submitEach(this.#ctx, commands);
  }
  async getEach(asked: AskedJob[]) {
    return getEach(this.#ctx, asked);
  }
  async admitViewer(auth: Auth, job: JobId) {
    return admitViewer(this.#ctx, auth, job);
  }
  async mayWatch(auth: Auth, job: JobId) {
    return metered(this.#ctx, auth, (ctx) => mayWatch(ctx, auth, job));
  }
  async listJobs(auth: Auth, query: ListQuery) {
    return metered(this.#ctx, auth, (ctx) => listJobs(ctx, auth, query));
  }
  async listEvents(auth: Auth, job: JobId, afterRevision: number) {
    return metered(this.#ctx, auth, (ctx) => listEvents(ctx, auth, job, afterRevision));
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
  async poolStanding(auth: Auth, pool: PoolName | null, asked?: Replayable) {
    return poolStanding(this.#ctx, auth, pool, asked);
  }
  async usage(auth: Auth) {
    return metered(this.#ctx, auth, (ctx) => usage(ctx, auth));
  }
  async rate(auth: Auth, kind: RateKind, draws: boolean) {
    return rate(this.#ctx, auth, kind, draws);
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
  async complete(
    lease: LeaseFields,
    artifacts: ManifestEntry[],
    seen: SeenObject[],
    metrics: AttemptMetrics,
    logs: LogLine[] = [],
  ) {
    return complete(this.#ctx, lease, artifacts, seen, metrics, logs);
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
  async takeBack(job: JobId, attempt: number, agent: string) {
    return takeBack(this.#ctx, job, attempt, agent);
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
  async provision(profile: AccountProfile, operator?: Operator) {
    provision(this.#ctx, profile, operator);
  }
  async account() {
    return account(this.#ctx);
  }
  async changeAccount(change: AccountChange, operator: Operator) {
    return changeAccount(this.#ctx, change, operator);
  }
  async disableAccount(cancelJobs: boolean, operator: Operator) {
    return disableAccount(this.#ctx, cancelJobs, operator);
  }
  async enableAccount(operator: Operator) {
    return enableAccount(this.#ctx, operator);
  }
  async eraseAccount(operator: Operator) {
    return eraseAccount(this.#ctx, operator);
  }
  async adoptTenant(tenant: AccountId) {
    return adoptTenant(this.#ctx, tenant);
  }
  async verifyKey(proof: KeyProof) {
    return verifyKey(this.#ctx, proof);
  }
  async createKey(key: NewKey, asker?: Asker) {
    return createKey(this.#ctx, key, asker);
  }
  async listKeys() {
    return listKeys(this.#ctx);
  }
  async keysWatching(tenant: AccountId) {
    return keysWatching(this.#ctx, tenant);
  }
  async recheckViewers() {
    recheckViewers(this.#ctx);
  }
  async ownKeys(proof: KeyProof) {
    return metered(this.#ctx, { by: "key", proof }, (ctx) => ownKeys(ctx, proof));
  }
  async revokeKey(keyid: KeyId, asker?: Asker) {
    return revokeKey(this.#ctx, keyid, asker);
  }
  async rotateKey(keyid: KeyId, next: Successor, overlapMs: number, asker: Asker) {
    return rotateKey(this.#ctx, keyid, next, overlapMs, asker);
  }
  async expireKey(keyid: KeyId, at: number, operator: Operator) {
    return expireKey(this.#ctx, keyid, at, operator);
  }
  async bootstrap(key: NewKey, operator?: Operator) {
    return bootstrap(this.#ctx, key, operator);
  }
  async recordAgent(news: AgentNews, operator: Operator) {
    recordAgent(this.#ctx, news, operator);
  }
  async tellDirectory() {
    return tellDirectory(this.#ctx);
  }

  async createEndpoint(auth: Auth, spec: EndpointSpec) {
    return createEndpoint(this.#ctx, auth, spec);
  }
  async listEndpoints(auth: Auth) {
    return metered(this.#ctx, auth, (ctx) => listEndpoints(ctx, auth));
  }
  async getEndpoint(auth: Auth, endpoint: EndpointId) {
    return metered(this.#ctx, auth, (ctx) => getEndpoint(ctx, auth, endpoint));
  }
  async changeEndpoint(auth: Auth, endpoint: EndpointId, change: EndpointChange) {
    return changeEndpoint(this.#ctx, auth, endpoint, change);
  }
  async removeEndpoint(auth: Auth, endpoint: EndpointId) {
    return removeEndpoint(this.#ctx, auth, endpoint);
  }
  async hookSecret(auth: Auth, signer: HookSigner) {
    return metered(this.#ctx, auth, (ctx) => hookSecret(ctx, auth, signer));
  }
  async rotateHookSecret(auth: Auth, signer: HookSigner, overlapMs: number) {
    return rotateHookSecret(this.#ctx, auth, signer, overlapMs);
  }
  async listDeliveries(auth: Auth, query: DeliveryQuery) {
    return metered(this.#ctx, auth, (ctx) => listDeliveries(ctx, auth, query));
  }
  async getDelivery(auth: Auth, delivery: DeliveryId) {
    return metered(this.#ctx, auth, (ctx) => getDelivery(ctx, auth, delivery));
  }
  async redeliver(auth: Auth, delivery: DeliveryId) {
    return metered(this.#ctx, auth, (ctx) => redeliver(ctx, auth, delivery));
  }
  async beginDelivery(delivery: DeliveryId) {
    return beginDelivery(this.#ctx, delivery);
  }
  async endDelivery(delivery: DeliveryId, report: DeliveryReport) {
    endDelivery(this.#ctx, delivery, report);
  }

  async tidyNow(dry = false) {
    return tidyNow(this.#ctx, dry);
  }
  async sweepNow(dry: boolean) {
    return sweepNow(this.#ctx, dry);
  }
  async tenantsAfter(after: string, limit: number) {
    return tenantsAfter(this.#ctx, after, limit);
  }
  async unreferenced(keys: string[]) {
    return unreferenced(this.#ctx, keys);
  }

  override async alarm(): Promise<void> {
    await runAlarm(this.#context);
  }
}
