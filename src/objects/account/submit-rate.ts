/**
 * Owns the rules a submit is admitted by, and how the submit bucket stands under them.
 * Invariant: read from the profile and the newest job's row; nothing is written.
 */
import { type AdmissionRules, rateOf } from "../../domain/admission.ts";
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

/** `tables` null: an account nothing was ever written for, whose bucket is full. */
export function submitRate(ctx: AccountContext, tables: AccountTables | null, who: Who, now: number): RateState {
  return rateOf(admissionRules(ctx, who), tables?.jobs.newest()?.tat ?? 0, now);
}
