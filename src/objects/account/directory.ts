/**
 * Owns what the account owes the directory: its own user and keys as they are when told, and who did what.
 * Invariant: owed in the transaction that decides, told until the directory took it, never given up; a directory that is down
 * delays no decision. What it lost it hears again: each account repeats itself once a week.
 */
import { directoryOf } from "../../platform/directory.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import type { AuditEntry, DirectoryAgent, DirectoryKey, DirectoryUser } from "../../protocol/directory.ts";
import { type KeyId, SYS_ACCOUNT } from "../../protocol/ids.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { DirectoryDebt } from "../../storage/account/outbox.ts";
import type { AgentNews, Operator } from "../contract.ts";
import { type Effects, noEffects, settle, wantBy } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";

const REPEAT_MS = 7 * 86_400_000;
const BATCH = 50;
/** Who asked for the change tells the directory at once; the alarm does where that did not happen. */
const AFTER_MS = 2_000;

type Owed = {
  user?: boolean;
  keys?: readonly KeyId[];
  agents?: readonly DirectoryAgent[];
  did?: Omit<AuditEntry, "entry" | "ts" | "account">;
  /** The name of what is told, where it may be told again. */
  entry?: string;
};

/** Called inside the transaction that decided. */
export function oweDirectory(ctx: AccountContext, owed: Owed, effects: Effects): void {
  const tables = ctx.database.toWrite();
  const now = ctx.now();
  const { entry = randomBase32(16) } = owed;
  const audit = owed.did ? { ...owed.did, entry, ts: now, account: ctx.account } : null;
  const { user = false, keys = [], agents = [] } = owed;
  tables.outbox.put({
    id: `directory:${entry}`,
    kind: "directory",
    body: { user, keys, agents, audit },
    due_at: now + AFTER_MS,
    created_at: now,
  });
  if (user) tables.profile.change({ directory_at: now });
  wantBy(effects, now + AFTER_MS);
}

export function recordAgent(ctx: AccountContext, news: AgentNews, operator: Operator): void {
  const { agent, action, ...named } = news;
  const effects = noEffects();
  const { actor, request_id } = operator;
  const did = { actor, action, target: agent.agent, request_id };
  ctx.database.transact(() => oweDirectory(ctx, { agents: [agent], did, ...named }, effects));
  settle(ctx, effects);
}

/** What a restored or emptied directory no longer has comes back with this, and keys show when they were used last. */
export function repeatToDirectory(ctx: AccountContext, tables: AccountTables, now: number): void {
  const profile = tables.profile.get();
  if (!profile || profile.parent !== null || profile.directory_at === 0) return;
  if (now - profile.directory_at < REPEAT_MS) return;
  // The operators' account has keys and is no user.
  const user = ctx.account !== SYS_ACCOUNT;
  oweDirectory(ctx, { user, keys: tables.keys.all().map(({ keyid }) => keyid) }, noEffects());
  tables.profile.change({ directory_at: now });
}

/** Tells under way, one at a time: who asks meanwhile waits for the next one. */
const telling = new WeakMap<AccountContext, Promise<boolean>>();

/** Tells what is owed; false when it was not taken. */
export async function tellDirectory(ctx: AccountContext): Promise<boolean> {
  await telling.get(ctx);
  const tables = ctx.database.toRead();
  if (!tables) return true;
  const underWay = telling.get(ctx) ?? tellOwed(ctx, tables);
  telling.set(ctx, underWay);
  return underWay.finally(() => telling.delete(ctx));
}

async function tellOwed(ctx: AccountContext, tables: AccountTables): Promise<boolean> {
  const owed = tables.outbox.owedToDirectory(BATCH);
  if (owed.length === 0) return true;
  const debts = owed.map(({ body }) => body);
  if (!(await tell(ctx, tables, debts))) return false;
  ctx.database.transact(() => {
    for (const { id } of owed) tables.outbox.remove(id);
  });
  return true;
}

/** True when the directory took all of it. */
async function tell(ctx: AccountContext, tables: AccountTables, debts: readonly DirectoryDebt[]): Promise<boolean> {
  const users = debts.some(({ user }) => user) ? [userOf(ctx, tables)] : [];
  const keyids = new Set(debts.flatMap(({ keys }) => keys));
  const keys = [...keyids].flatMap((keyid) => keyOf(ctx, tables, keyid));
  const agents = debts.flatMap((debt) => debt.agents);
  const audit = debts.flatMap((debt) => debt.audit ?? []);
  try {
    const directory = directoryOf(ctx.env.DIRECTORY);
    await step("directory.tell", () => directory.record({ users, keys, agents, audit }));
    return true;
  } catch (error) {
    count("comfy_edge_directory_failures_total");
    logLine("error", "directory_failed", { account: ctx.account, owed: debts.length, cause: causeOf(error) });
    return false;
  }
}

function userOf(ctx: AccountContext, tables: AccountTables): DirectoryUser {
  const profile = tables.profile.get();
  if (!profile) throw new Error("the directory is owed an account that does not exist");
  const { role, region, name, default_pool, created_at, disabled_at, erased_at } = profile;
  return { user_id: ctx.account, name, role, region, default_pool, created_at, disabled_at, erased_at };
}

function keyOf(ctx: AccountContext, tables: AccountTables, keyid: KeyId): DirectoryKey[] {
  const key = tables.keys.get(keyid);
  if (!key) return [];
  const { secret_sha256: _, ...row } = key;
  return [{ user_id: ctx.account, ...row }];
}
