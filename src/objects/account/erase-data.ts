/**
 * Owns the verb erase-data: what a job was made of and what it made goes, the row that says it ran stays.
 * Invariant: a job that is not over is refused; the files are owed to the outbox in the same transaction, so none is forgotten.
 */
import { erasedJob } from "../../domain/job-record.ts";
import { jobPrefix } from "../../protocol/bucket-keys.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Auth } from "../contract.ts";
import { DISCARD_AFTER_MS, type Effects, noEffects, settle, wantBy } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { identify, NOT_FOUND } from "./identity.ts";
import { isKept } from "./retention.ts";

const NOT_OVER = refusalOf("CONFLICT", "The job is not over yet. Cancel it first, then delete its data.");

/** Safe to repeat: the second time there is nothing left to delete, and that is no error. */
export function eraseData(ctx: AccountContext, auth: Auth, job: JobId): Result<null, Refusal> {
  const tables = ctx.database.toRead();
  const effects = noEffects();
  const result = ctx.database.transact(() => eraseIn(ctx, tables, auth, job, effects));
  settle(ctx, effects);
  return result;
}

function eraseIn(
  ctx: AccountContext,
  tables: AccountTables | null,
  auth: Auth,
  job: JobId,
  effects: Effects,
): Result<null, Refusal> {
  const now = ctx.now();
  const who = identify(tables, auth, now);
  if (!who.ok) return who;
  const stored = tables?.jobs.get(job);
  if (!tables || !stored || !isKept(stored, now)) return refuse(NOT_FOUND);
  if (!isTerminal(stored.state)) return refuse(NOT_OVER);
  const payload = tables.jobs.payloadOf(job);
  tables.jobs.erase(erasedJob(stored));
  if (payload) tables.payloads.forgetUnshared(payload);
  tables.hooks.forgetJob(job, now);
  const prefix = jobPrefix(stored.order.retention_days, ctx.account, job);
  // Once now, and once when no upload URL of its attempts can be alive any more.
  for (const due_at of [now, now + DISCARD_AFTER_MS]) {
    const id = `delete:${prefix}:${due_at === now ? "now" : "later"}`;
    tables.outbox.put({ id, kind: "delete_objects", body: { prefix }, due_at, created_at: now });
    wantBy(effects, due_at);
  }
  return ok(null);
}
