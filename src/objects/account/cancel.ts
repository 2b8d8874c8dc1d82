/**
 * Owns the verb cancel.
 * Invariant: once acknowledged, no result of the job becomes visible; a terminal job is left as it is.
 */
import { advance } from "../../domain/advance.ts";
import { recordOf } from "../../domain/job-record.ts";
import { isEnded } from "../../domain/job-state.ts";
import type { Refusal } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Auth, CancelDone } from "../contract.ts";
import { commit, dispatch, type Effects, noEffects, settle } from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";
import { identify, NOT_FOUND, roleOf } from "./identity.ts";
import { isKept } from "./retention.ts";

export function cancelJob(ctx: AccountContext, auth: Auth, job: JobId): Result<CancelDone, Refusal> {
  const tables = ctx.database.toRead();
  const effects = noEffects();
  const result = ctx.database.transact(() => cancelIn(ctx, tables, auth, job, effects));
  settle(ctx, effects);
  return result;
}

function cancelIn(
  ctx: AccountContext,
  tables: AccountTables | null,
  auth: Auth,
  job: JobId,
  effects: Effects,
): Result<CancelDone, Refusal> {
  const now = ctx.now();
  const who = identify(tables, auth, now);
  if (!who.ok) return who;
  const live = tables?.live.get(job) ?? null;
  const before = tables?.jobs.get(job);
  if (!tables || !before || !isKept(before, now)) return refuse(NOT_FOUND);
  const underWay = live?.status === "canceling";
  if (live && !isEnded(live.status) && !underWay) {
    const advanced = advance(live, { name: "cancel" }, momentOf(ctx, now));
    if (advanced.kind === "moved") {
      commit(ctx, tables, live, advanced, effects);
      dispatch(ctx, tables, now, effects);
    }
  }
  const stored = tables.jobs.get(job);
  if (!stored) return refuse(NOT_FOUND);
  const { signed_url_s } = roleOf(ctx.settings, who.value.profile);
  const present = tables.live.get(job);
  const record = recordOf({ account: ctx.account, stored, live: present, waiting: null, url_ttl_s: signed_url_s });
  return ok({ record, changed: underWay || (live !== null && !isEnded(live.status)) });
}
