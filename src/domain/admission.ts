/**
 * Owns who may submit what: the checks of DESIGN 6 after the key and the replay, in their order.
 * Invariant: counts are derived from rows and stop at limit + 1; a refusal changes nothing.
 */
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { Role, RoleName } from "../protocol/roles.ts";
import { type Bucket, draw, standOf } from "./rate-limit.ts";

/** Priorities above 0 overtake other accounts' jobs: only operators' own accounts may ask for them. */
const PRIORITY_ROLE: RoleName = "internal";
const QUEUE_FULL_RETRY_MS = 5_000;
const CONCURRENCY_RETRY_MS = 5_000;

export type Asked = {
  readonly jobs: number;
  readonly priorities: readonly number[];
  /** Images of the job that asks for most; absent: 1. */
  readonly images?: number;
};
/** Only asked as far as needed: each is a count over rows. */
export type Standing = {
  readonly tat: number;
  /** Jobs of this UTC day that count, at most `limit` + 1. */
  readonly today: (limit: number) => number;
  /** Non-terminal jobs. */
  readonly active: () => number;
  /** Backlog of the fullest pool asked for, as the queue reported it lately; null: unknown. */
  readonly backlog: number | null;
};
export type AdmissionRules = {
  readonly role: Role;
  readonly role_name: RoleName;
  readonly rate_limited: boolean;
  readonly max_queued: number;
};
export type Admitted = { readonly tat: number };

/** Why a request asks for more than its role may ever have at once; null when it does not. */
export function refusedShape(asked: Asked, rules: AdmissionRules): Refusal | null {
  if (asked.jobs < 1) return refusalOf("VALIDATION_ERROR", "No job was given.", { field: "jobs" });
  const most = mostAtOnce(rules);
  if (asked.jobs > most.jobs)
    return refusalOf("VALIDATION_ERROR", `This account may submit ${most.jobs} jobs at once: its ${most.limit}.`, {
      field: "jobs",
      limit: most.jobs,
    });
  if ((asked.images ?? 1) > rules.role.batch)
    return refusalOf("VALIDATION_ERROR", `This account may ask for ${rules.role.batch} images a job.`, {
      field: "batch_size",
      limit: rules.role.batch,
    });
  if (rules.role_name !== PRIORITY_ROLE && asked.priorities.some((p) => p > 0))
    return refusalOf("VALIDATION_ERROR", "This account may not raise the priority.", { field: "priority", limit: 0 });
  return null;
}

/** What a command is held to however long it waits: over the smallest of these it is never admitted whole. */
function mostAtOnce(rules: AdmissionRules): { jobs: number; limit: string } {
  const { batch, max_active, daily } = rules.role;
  const burst = bucketOf(rules)?.burst ?? null;
  let most = { jobs: batch, limit: "batch" };
  for (const [limit, jobs] of Object.entries({ submit_burst: burst, max_active, daily }))
    if (jobs !== null && jobs < most.jobs) most = { jobs, limit };
  return most;
}

/** Bucket, daily quota, `max_active`, capacity: all jobs or none. */
export function admit(asked: Asked, standing: Standing, rules: AdmissionRules, now: number): Result<Admitted, Refusal> {
  const { role } = rules;
  const bucket = bucketOf(rules);
  const drawn = bucket ? draw(bucket, standing.tat, now, asked.jobs) : null;
  if (bucket && drawn && !drawn.ok)
    return refuse({
      ...refusalOf("RATE_LIMIT_EXCEEDED", "Too many jobs were submitted in the last minute.", {
        limit: bucket.per_minute,
      }),
      retry_after_ms: drawn.retry_after_ms,
      limit: bucket.per_minute,
    });
  if (role.daily !== null && standing.today(role.daily) + asked.jobs > role.daily)
    return refuse({
      ...refusalOf("QUOTA_EXCEEDED", "The daily number of jobs is used up.", { limit: role.daily }),
      retry_after_ms: nextUtcDay(now) - now,
      limit: role.daily,
    });
  if (standing.active() + asked.jobs > role.max_active)
    return refuse({
      ...refusalOf("CONCURRENCY_LIMIT", "Too many of this account's jobs are not finished.", {
        limit: role.max_active,
      }),
      retry_after_ms: CONCURRENCY_RETRY_MS,
      limit: role.max_active,
    });
  if (standing.backlog !== null && standing.backlog >= rules.max_queued)
    return refuse({
      ...refusalOf("QUEUE_FULL", "The pool's queue is full.", { limit: rules.max_queued }),
      retry_after_ms: QUEUE_FULL_RETRY_MS,
      limit: rules.max_queued,
    });
  return ok({ tat: drawn?.ok ? drawn.tat : standing.tat });
}

/** The rate headers' content: how the submit bucket stands. */
export function rateOf(rules: AdmissionRules, tat: number, now: number) {
  return standOf("submit", bucketOf(rules), tat, now);
}

/** Null where nothing limits submits. */
export function bucketOf(rules: AdmissionRules): Bucket | null {
  const { submits_per_minute, submit_burst } = rules.role;
  if (!rules.rate_limited || submits_per_minute === null) return null;
  return { per_minute: submits_per_minute, burst: submit_burst ?? submits_per_minute };
}

const DAY_MS = 86_400_000;
export function utcDay(now: number): number {
  return Math.floor(now / DAY_MS) * DAY_MS;
}
export function nextUtcDay(now: number): number {
  return utcDay(now) + DAY_MS;
}
