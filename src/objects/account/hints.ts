/**
 * Owns what the account says to others after a commit: doorbells, offers, publishes, a cancel down the socket.
 * Invariant: a hint may be lost, late or repeated; its failure is counted and changes nothing. Rows repeat what must arrive.
 */

import type { LiveJob } from "../../domain/live-job.ts";
import { type Env, poolConfig, type Settings } from "../../platform/env.ts";
import type { Macs } from "../../platform/macs.ts";
import { count } from "../../platform/metrics.ts";
import { sendDoorbells } from "../../platform/queue-messages.ts";
import type { AccountId, JobId, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { Offer } from "../contract.ts";
import { accountOf, poolOf, progressOf } from "../locate.ts";
import { gathered } from "./gathered.ts";
import { step } from "./step.ts";

/** Offers, and doorbells, of one pool gather for so long once one has just been sent. */
const GATHER_MS = 5;
const RECHECKS_AT_ONCE = 20;

/** `models`: what an agent should have loaded. */
export type Ringing = { readonly job: LiveJob; readonly weight: number; readonly models: readonly string[] };

export type Hints = {
  /** Doorbell and offer for the attempt that would begin. */
  ring(ringing: Ringing): void;
  /** An agent has the attempt: a doorbell that has not gone yet has nobody to call. */
  claimed(pool: PoolName, job: JobId, attempt: number): void;
  /** Takes an offer back: the job is no longer to be had. */
  withdraw(job: LiveJob): void;
  publish(record: JobRecord): Promise<boolean>;
  tellAgent(job: JobId, attempt: number): void;
  /** An agent's lease ran out: its pool counts whether it is fit. */
  leaseLost(pool: PoolName, agent: string): void;
  /** Has the viewers' keys of these jobs asked for again. */
  recheckKeys(jobs: readonly JobId[]): void;
  /** Has the viewers' keys of these tenants' jobs asked for again. */
  recheckTenants(tenants: readonly AccountId[]): void;
};

type Deps = {
  readonly account: AccountId;
  readonly env: Env;
  readonly settings: Settings;
  readonly macs: Macs;
  readonly now: () => number;
  readonly background: (work: Promise<unknown>) => void;
};

export function hintsOf(deps: Deps): Hints {
  const { account, env, settings } = deps;
  const { background } = deps;
  const at_once = { first_ms: 0, window_ms: GATHER_MS };
  const offers = gathered(at_once, (pool, some) => offer(deps, pool, some), background);
  const bells = (pool: PoolName, some: readonly Offer[]) => ringDoorbells(deps, pool, some);
  const doorbells = gathered(at_once, bells, background);
  // Where an agent is idle it takes the offer of a new job at once: the doorbell waits for that, and most need never ring.
  const first_ms = settings.OFFERS_ENABLED ? settings.DOORBELL_DELAY_MS : 0;
  const firstDoorbells = gathered({ first_ms, window_ms: Math.max(GATHER_MS, first_ms) }, bells, background);
  const drop = (pool: PoolName, job: JobId, number: number) => {
    for (const hints of [offers, doorbells, firstDoorbells]) hints.drop(pool, job, number);
  };

  return {
    ring: (ringing) => {
      const one = offerOf(deps, ringing);
      const { pool, attempt, rings } = ringing.job;
      if (settings.OFFERS_ENABLED) offers.add(pool, one);
      // One that comes back, or was not heard, may do so because everything is going down: it is called at once.
      (attempt === 0 && rings <= 1 ? firstDoorbells : doorbells).add(pool, one);
    },
    claimed: (pool, job, number) => {
      drop(pool, job, number);
    },
    withdraw: (job) => {
      drop(job.pool, job.job, job.attempt + 1);
      if (!settings.OFFERS_ENABLED) return;
      const send = () => step("hints.withdraw", () => poolOf(env, job.pool).withdraw([refOf(deps, job)]));
      deps.background(attempt("withdraw", send));
    },
    publish: (record) =>
      attempt("publish", () => step("hints.publish", () => progressOf(env, account, record.job).publish(record))),
    tellAgent: (job, number) => {
      const send = () => step("hints.tell-agent", () => progressOf(env, account, job).pushCancel(number));
      deps.background(attempt("tell_agent", send));
    },
    leaseLost: (pool, agent) => {
      const send = () => step("hints.lease-lost", () => poolOf(env, pool).leaseLost(agent));
      deps.background(attempt("lease_lost", send));
    },
    recheckKeys: (jobs) => deps.background(recheck(jobs, (job) => progressOf(env, account, job).recheckKeys())),
    recheckTenants: (tenants) => deps.background(recheck(tenants, (tenant) => accountOf(env, tenant).recheckViewers())),
  };
}

/** The signed pointer to the attempt that would begin. */
function refOf(deps: Deps, job: LiveJob): string {
  return deps.macs.signRef({ account: deps.account, job: job.job, attempt: job.attempt + 1, pool: job.pool });
}

async function offer(deps: Deps, pool: PoolName, offers: Offer[]): Promise<void> {
  await attempt("offer", () => step("hints.offer", () => poolOf(deps.env, pool).offer(offers)));
}

async function ringDoorbells({ env, settings, now }: Deps, pool: PoolName, offers: readonly Offer[]): Promise<void> {
  const config = poolConfig(settings, pool);
  const refs = offers.map(({ ref }) => ref);
  if (config) await attempt("doorbell", () => step("hints.doorbell", () => sendDoorbells(env, config, refs, now())));
}

function offerOf(deps: Deps, { job, weight, models }: Ringing): Offer {
  const { account } = deps;
  const { priority } = job;
  const ref = refOf(deps, job);
  return { ref, account, job: job.job, attempt: job.attempt + 1, priority, weight, models: [...models] };
}

/** A few at a time: an account may have a thousand jobs that are not over. */
async function recheck<T>(all: readonly T[], tell: (one: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < all.length; from += RECHECKS_AT_ONCE) {
    const some = all.slice(from, from + RECHECKS_AT_ONCE);
    const send = (one: T) => attempt("recheck_keys", () => tell(one));
    await step("hints.recheck-keys", () => Promise.all(some.map(send)));
  }
}

/** True when the hint was taken. */
async function attempt(hint: string, send: () => Promise<unknown>): Promise<boolean> {
  try {
    await send();
    count("comfy_edge_hints_total", { hint, outcome: "sent" });
    return true;
  } catch {
    count("comfy_edge_hints_total", { hint, outcome: "failed" });
    return false;
  }
}
