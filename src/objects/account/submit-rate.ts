/**
 * Owns the rules a submit is admitted by, and how the submit bucket stands under them.
 * Invariant: read from the profile and the newest job's row; nothing is written.
 */
import { type AdmissionRules, bucketOf, rateOf } from "../../domain/admission.ts";
import { emptyTat } from "../../domain/rate-limit.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { RateState } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { roleNameOf, roleOf, type Who } from "./identity.ts";

export function admissionRules(ctx: AccountContext, { profile }: Who): AdmissionRules {
  return {
    role: roleOf(ctx.settings, profile),
    role_name: roleNameOf(profile),
    rate_limited: ctx.settings.RATE_LIMIT_ENABLED,
    max_queued: ctx.settings.MAX_QUEUED,
  };
}

/** From when on a bucket that cannot be was taken for empty, as a `tat`. */
const emptied = new WeakMap<AccountContext, number>();

/**
 * The submit bucket as the newest job left it. One later than an empty bucket was written before the clock was set back (or
 * under other limits): it counts as empty from the first look on, instead of until the clock is where it was. In memory, since
 * a refused submit writes nothing; the next accepted one puts it right.
 */
export function submitTat(ctx: AccountContext, rules: AdmissionRules, stored: number, now: number): number {
  const bucket = bucketOf(rules);
  const latest = bucket ? emptyTat(bucket, now) : stored;
  if (stored <= latest) {
    emptied.delete(ctx);
    return stored;
  }
  const tat = Math.min(emptied.get(ctx) ?? latest, latest);
  emptied.set(ctx, tat);
  return tat;
}

/** `tables` null: an account nothing was ever written for, whose bucket is full. */
export function submitRate(ctx: AccountContext, tables: AccountTables | null, who: Who, now: number): RateState {
  const rules = admissionRules(ctx, who);
  return rateOf(rules, submitTat(ctx, rules, tables?.jobs.newest()?.tat ?? 0, now), now);
}
