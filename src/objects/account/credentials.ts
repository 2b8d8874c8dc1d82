/**
 * Owns the account itself as operators handle it: make, change, disable, erase, the one bootstrap.
 * Invariant: a disabled account refuses every key of its own; an erased one stays refused for ever; bootstrap succeeds once.
 */
import { advance } from "../../domain/advance.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { SYS_ACCOUNT } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredProfile } from "../../storage/account/profile.ts";
import type { Account, AccountChange, AccountProfile, NewKey, Operator } from "../contract.ts";
import { commit, dispatch, type Effects, noEffects, readable, settle, wantBy } from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";
import { oweDirectory } from "./directory.ts";
import { ERASED, NOT_FOUND } from "./identity.ts";
import { recheckViewers } from "./recheck.ts";

/** Jobs canceled in one transaction; what is left is canceled by the alarm. */
const AT_MOST = 1_000;
/** Of the outbox: there while jobs of a disabled account are left to cancel. */
const CANCEL_REST = "cancel";
const OPERATORS = refusalOf("CONFLICT", "The operators' own account can be neither disabled nor erased.");

export function provision(ctx: AccountContext, profile: AccountProfile, operator?: Operator): void {
  const tables = ctx.database.toWrite();
  const effects = noEffects();
  const now = ctx.now();
  ctx.database.transact(() => {
    const { limits, dedupe_without_key = false, pools = [], ...rest } = profile;
    tables.profile.put({ ...rest, parent: null, created_at: now });
    if (limits) tables.profile.change({ limits });
    if (dedupe_without_key) tables.profile.change({ dedupe_without_key });
    if (pools.length > 0) tables.profile.change({ pools });
    // A raised limit lets held jobs go at once; a lowered one touches none that was admitted.
    dispatch(ctx, tables, now, effects);
    if (operator) told(ctx, operator, "create_user", effects);
  });
  settle(ctx, effects);
}

export function account(ctx: AccountContext): Account | null {
  const profile = ctx.database.toRead()?.profile.get();
  return profile ? shownOf(profile) : null;
}

export function changeAccount(
  ctx: AccountContext,
  change: AccountChange,
  operator: Operator,
): Result<Account, Refusal> {
  return changed(ctx, "change_user", operator, (tables, now, effects) => {
    tables.profile.change(change);
    dispatch(ctx, tables, now, effects);
  });
}

export function disableAccount(ctx: AccountContext, cancelJobs: boolean, operator: Operator): Result<Account, Refusal> {
  const disabled = changed(ctx, "disable_user", operator, (tables, now, effects, profile) => {
    if (profile.disabled_at === null) tables.profile.change({ disabled_at: now });
    if (cancelJobs && cancelSome(ctx, tables, now, effects)) {
      tables.outbox.put({ id: CANCEL_REST, kind: "cancel", body: {}, due_at: now, created_at: now });
      wantBy(effects, now);
    }
  });
  if (disabled.ok) recheckViewers(ctx);
  return disabled;
}

export function enableAccount(ctx: AccountContext, operator: Operator): Result<Account, Refusal> {
  return changed(ctx, "enable_user", operator, (tables) => {
    tables.profile.change({ disabled_at: null });
    tables.outbox.remove(CANCEL_REST);
  });
}

export function eraseAccount(ctx: AccountContext, operator: Operator): Result<Account, Refusal> {
  const erased = changed(ctx, "erase_user", operator, (tables, now, effects, profile) => {
    const name = "";
    tables.profile.change({ name, limits: null, erased_at: now, disabled_at: profile.disabled_at ?? now });
    tables.keys.eraseAll(now);
    cancelSome(ctx, tables, now, effects);
    tables.outbox.put({ id: "erase", kind: "erase", body: {}, due_at: now, created_at: now });
    wantBy(effects, now);
  });
  if (erased.ok) recheckViewers(ctx);
  return erased;
}

/** The operators' first key: true for the one call that made it. */
export function bootstrap(ctx: AccountContext, key: NewKey, operator?: Operator): boolean {
  const tables = ctx.database.toWrite();
  const effects = noEffects();
  const now = ctx.now();
  const isFirst = ctx.database.transact(() => {
    if (!tables.profile.get()) tables.profile.put(operatorsOf(ctx, now));
    if (!tables.profile.takeBootstrap()) return false;
    if (!tables.keys.insert({ ...key, created_at: now, revoked_at: null, last_used_at: null })) return false;
    if (operator) {
      const { actor, request_id } = operator;
      const did = { actor, action: "create_key", target: key.keyid, request_id };
      oweDirectory(ctx, { keys: [key.keyid], did }, effects);
      tables.profile.change({ directory_at: now });
    }
    return true;
  });
  settle(ctx, effects);
  return isFirst;
}

function operatorsOf(ctx: AccountContext, now: number) {
  const { DEFAULT_REGION: region } = ctx.settings;
  return { role: "internal", region, name: "operators", default_pool: "default", parent: null, created_at: now };
}

type Change = (tables: AccountTables, now: number, effects: Effects, profile: StoredProfile) => void;

/** One change of an account that is there and not erased. Safe to repeat. */
function changed(ctx: AccountContext, action: string, operator: Operator, change: Change): Result<Account, Refusal> {
  const tables = ctx.database.toRead();
  const effects = noEffects();
  const now = ctx.now();
  const result = ctx.database.transact((): Result<Account, Refusal> => {
    const profile = tables?.profile.get();
    if (!tables || !profile) return refuse(NOT_FOUND);
    if (profile.erased_at !== null) return action === "erase_user" ? ok(shownOf(profile)) : refuse(ERASED);
    if (ctx.account === SYS_ACCOUNT && action !== "change_user") return refuse(OPERATORS);
    change(tables, now, effects, profile);
    told(ctx, operator, action, effects);
    return ok(shownOf(tables.profile.get() ?? profile));
  });
  settle(ctx, effects);
  return result;
}

/** A tenant's account is no user of the directory; what was done to it is in the audit all the same. */
function told(ctx: AccountContext, { actor, request_id }: Operator, action: string, effects: Effects): void {
  const tables = ctx.database.toWrite();
  const user = tables.profile.get()?.parent === null;
  const keys = action === "erase_user" ? tables.keys.all().map(({ keyid }) => keyid) : [];
  oweDirectory(ctx, { user, keys, did: { actor, action, target: ctx.account, request_id } }, effects);
}

/** Cancels what is not over, at most `AT_MOST` jobs in one go. True when others may be left. */
export function cancelSome(ctx: AccountContext, tables: AccountTables, now: number, effects: Effects): boolean {
  const jobs = tables.live.cancelable(AT_MOST);
  for (const id of jobs) {
    const job = readable(ctx, tables, id);
    if (!job) continue;
    const advanced = advance(job, { name: "cancel" }, momentOf(ctx, now));
    if (advanced.kind === "moved") commit(ctx, tables, job, advanced, effects);
  }
  return jobs.length === AT_MOST;
}

function shownOf(profile: StoredProfile): Account {
  const { directory_at: _, ...account } = profile;
  return account;
}
