/**
 * Owns what the account says to others after a commit: doorbells, offers, publishes, a cancel down the socket.
 * Invariant: a hint may be lost, late or repeated; its failure is counted and changes nothing. Rows repeat what must arrive.
 */
import type { LiveJob } from "../../domain/live-job.ts";
import { type Env, poolConfig, type Settings } from "../../platform/env.ts";
import type { Macs } from "../../platform/macs.ts";
import { sendDoorbells } from "../../platform/queue-messages.ts";
import type { AccountId, JobId, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { Offer } from "../contract.ts";
import { poolOf, progressOf } from "../locate.ts";
import { count } from "./counters.ts";
import { step } from "./step.ts";

/** Doorbells of one pool gather for so long once one has just been sent. */
const GATHER_MS = 5;

export type Ringing = { readonly job: LiveJob; readonly weight: number };

export type Hints = {
  /** Doorbell and offer for the attempt that would begin. */
  ring(ringing: Ringing): void;
  /** Takes an offer back: the job is no longer to be had. */
  withdraw(job: LiveJob): void;
  publish(record: JobRecord): Promise<boolean>;
  tellAgent(job: JobId, attempt: number): void;
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
  const { account, env, settings, macs } = deps;
  const gathering = new Map<PoolName, Ringing[]>();
  const refOf = (job: LiveJob) => macs.signRef({ account, job: job.job, attempt: job.attempt + 1, pool: job.pool });

  const send = async (pool: PoolName, ringing: readonly Ringing[]) => {
    const rung = ringing.map(({ job, weight }) => ({ job, weight, ref: refOf(job) }));
    const offers: Offer[] = rung.map(({ job, weight, ref }) => ({
      ref,
      account,
      job: job.job,
      attempt: job.attempt + 1,
      priority: job.priority,
      weight,
      models: [],
    }));
    const config = poolConfig(settings, pool);
    const refs = offers.map((o) => o.ref);
    await Promise.all([
      config && attempt("doorbell", () => step("hints.doorbell", () => sendDoorbells(env, config, refs, deps.now()))),
      settings.OFFERS_ENABLED && attempt("offer", () => step("hints.offer", () => poolOf(env, pool).offer(offers))),
    ]);
  };

  const flush = async (pool: PoolName): Promise<void> => {
    // The first goes at once; what comes within the next 5 ms goes together.
    for (;;) {
      const batch = gathering.get(pool) ?? [];
      if (batch.length === 0) break;
      gathering.set(pool, []);
      await step("hints.send", () => send(pool, batch));
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
      const work = step("hints.withdraw", () => poolOf(env, job.pool).withdraw([refOf(job)]));
      deps.background(attempt("withdraw", () => work));
    },
    publish: (record) =>
      attempt("publish", () => step("hints.publish", () => progressOf(env, account, record.job).publish(record))),
    tellAgent: (job, number) => {
      const work = () => step("hints.tell-agent", () => progressOf(env, account, job).pushCancel(number));
      deps.background(attempt("tell_agent", work));
    },
  };
}

/** True when the hint was taken. */
async function attempt(hint: string, send: () => Promise<unknown>): Promise<boolean> {
  try {
    await send();
    count(`comfy_edge_hints_total{hint="${hint}",outcome="sent"}`);
    return true;
  } catch {
    count(`comfy_edge_hints_total{hint="${hint}",outcome="failed"}`);
    return false;
  }
}
