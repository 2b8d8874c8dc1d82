/**
 * Owns what the account says to others after a commit: doorbells, offers, publishes, a cancel down the socket.
 * Invariant: a hint may be lost, late or repeated; its failure is counted and changes nothing. Rows repeat what must arrive.
 */

import type { LiveJob } from "../../domain/live-job.ts";
import { type Env, poolConfig, type Settings } from "../../platform/env.ts";
import { inTime } from "../../platform/in-time.ts";
import type { Macs } from "../../platform/macs.ts";
import { count } from "../../platform/metrics.ts";
import { sendDoorbells } from "../../platform/queue-messages.ts";
import type { AccountId, JobId, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { Offer } from "../contract.ts";
import { accountOf, poolOf, progressOf } from "../locate.ts";
import { step } from "./step.ts";

/** Doorbells of one pool gather for so long once one has just been sent. */
const GATHER_MS = 5;
const RECHECKS_AT_ONCE = 20;
/** A pool or a queue that has not answered by then holds up no doorbell after it. */
const SEND_MS = 2_000;

/** `models`: what an agent should have loaded. */
export type Ringing = { readonly job: LiveJob; readonly weight: number; readonly models: readonly string[] };

export type Hints = {
  /** Doorbell and offer for the attempt that would begin. */
  ring(ringing: Ringing): void;
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
  const gathering = new Map<PoolName, Ringing[]>();

  const flush = async (pool: PoolName): Promise<void> => {
    // The first goes at once; what comes within the next 5 ms goes together.
    for (;;) {
      const batch = gathering.get(pool) ?? [];
      if (batch.length === 0) break;
      gathering.set(pool, []);
      const sent = step("hints.send", () => ring(deps, pool, batch)).catch(() => undefined);
      deps.background(sent);
      await inTime(sent, SEND_MS);
      await step("hints.gather", () => new Promise<void>((resolve) => setTimeout(resolve, GATHER_MS)));
    }
    gathering.delete(pool);
  };

  return {
    ring: (ringing) => {
      const waiting = gathering.get(ringing.job.pool);
      if (waiting) waiting.push(ringing);
      else {
        gathering.set(ringing.job.pool, [ringing]);
        deps.background(flush(ringing.job.pool));
      }
    },
    withdraw: (job) => {
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

async function ring(deps: Deps, pool: PoolName, ringing: readonly Ringing[]): Promise<void> {
  const { env, settings } = deps;
  const offers = ringing.map((one) => offerOf(deps, one));
  const refs = offers.map((offer) => offer.ref);
  const config = poolConfig(settings, pool);
  await Promise.all([
    config && attempt("doorbell", () => step("hints.doorbell", () => sendDoorbells(env, config, refs, deps.now()))),
    settings.OFFERS_ENABLED && attempt("offer", () => step("hints.offer", () => poolOf(env, pool).offer(offers))),
  ]);
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
