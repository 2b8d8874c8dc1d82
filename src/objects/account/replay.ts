/**
 * Owns what a submit repeats: by its Idempotency-Key, or by its body alone where the account switched that on.
 * Invariant: one key stands for one request; a body without a key stands only for jobs under way or succeeded, each with its
 * data and with seeds that its client named.
 */
import { recordOf } from "../../domain/job-record.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Auth, Replayable } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import type { Who } from "./identity.ts";

const IDEMPOTENCY_MS = 86_400_000;
/** Of a job that ended so, or will, nobody who only sends the same body again would want to hear. */
const OF_NO_USE: ReadonlySet<string> = new Set(["canceling", "failed", "canceled", "expired"]);

/** Where a request is remembered. */
export type ReplayPlace = { readonly row: string; readonly fingerprint: string; readonly has_key: boolean };

/** Null for a request that repeats none and that none will repeat. */
export function replayPlace(
  { route, idempotency }: Replayable,
  auth: Auth,
  { profile }: Pick<Who, "profile">,
): ReplayPlace | null {
  if (!idempotency) return null;
  const { key, fingerprint } = idempotency;
  // Hashed, so that a key of any length costs the same; the route is part of its scope.
  if (key !== null) return { row: sha256Hex(`${route}\0${key}`), fingerprint, has_key: true };
  const isAsked = profile.dedupe_without_key || (auth.by === "parent" && auth.dedupes === true);
  // No key holds a zero: the two never meet.
  return isAsked ? { row: sha256Hex(`${route}\0\0${fingerprint}`), fingerprint, has_key: false } : null;
}

/** What was made of the same request before; null where there is nothing. */
export function replayOf(
  ctx: AccountContext,
  tables: AccountTables,
  place: ReplayPlace,
  now: number,
  url_ttl_s: number,
): Result<JobRecord[], Refusal> | null {
  const known = found(tables, place, now);
  if (!known) return null;
  if (known.fingerprint !== place.fingerprint)
    return refuse(refusalOf("IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was used with another request."));
  const records = known.jobs.flatMap((job) => {
    const stored = tables.jobs.get(job);
    if (!stored) return [];
    return [recordOf({ account: ctx.account, stored, live: tables.live.get(job), waiting: null, url_ttl_s })];
  });
  return ok(records);
}

/** Whether this place is taken. What else its request says is the submit's to judge. */
export function isReplay(tables: AccountTables, place: ReplayPlace, now: number): boolean {
  return found(tables, place, now) !== null;
}

/** Called in the transaction that made the jobs. */
export function rememberReplay(tables: AccountTables, place: ReplayPlace, jobs: readonly JobId[], now: number): void {
  tables.idempotency.remember(place.row, { fingerprint: place.fingerprint, jobs }, now + IDEMPOTENCY_MS);
}

function found(tables: AccountTables, place: ReplayPlace, now: number) {
  const known = tables.idempotency.find(place.row, now);
  return known && (place.has_key || known.jobs.every((job) => isOfUse(tables, job))) ? known : null;
}

function isOfUse(tables: AccountTables, job: JobId): boolean {
  const stored = tables.jobs.get(job);
  if (!stored || tables.jobs.payloadOf(job) === null) return false;
  return !OF_NO_USE.has(tables.live.get(job)?.status ?? stored.state);
}
