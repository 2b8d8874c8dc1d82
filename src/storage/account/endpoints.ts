/**
 * Owns the webhook endpoints of an account, and how far the secret of each was rotated.
 * Invariant: no secret is stored: only the number it is derived from. A request reads them once per start of the object.
 */
import { eq } from "drizzle-orm";
import { endpointIdSchema, type HookEvent, type HookSigner, hookEventSchema } from "../../protocol/webhooks.ts";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { endpoints } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

export type DisabledReason = "owner" | "gone" | "failing";

export type StoredEndpoint = {
  readonly endpoint: HookSigner;
  readonly url: string;
  readonly description: string;
  readonly events: readonly HookEvent[];
  readonly enabled: boolean;
  readonly disabled_reason: DisabledReason | null;
  readonly failing_since: number | null;
  readonly secret_version: number;
  readonly previous_until: number | null;
  readonly created_at: number;
};

export type EndpointTable = {
  /** The oldest first, the account's own secret (`default`) among them once it was rotated. */
  all(): readonly StoredEndpoint[];
  get(endpoint: HookSigner): StoredEndpoint | null;
  put(endpoint: StoredEndpoint): void;
  remove(endpoint: HookSigner): void;
};

const REASONS: readonly DisabledReason[] = ["owner", "gone", "failing"];

export function endpointTable(db: AccountDb, memory: AccountMemory): EndpointTable {
  const known = memory.cell<readonly StoredEndpoint[]>();
  const every = db.select().from(endpoints).prepare();
  const { endpoint: _, created_at: __, ...rest } = slots(endpoints);
  const put = db
    .insert(endpoints)
    .values(slots(endpoints))
    .onConflictDoUpdate({ target: endpoints.endpoint, set: rest })
    .prepare();
  const remove = db
    .delete(endpoints)
    .where(eq(endpoints.endpoint, slot("endpoint")))
    .prepare();
  const all = () =>
    known.get(() =>
      every
        .all()
        .map(endpointOf)
        .sort((a, b) => a.created_at - b.created_at),
    );
  return {
    all,
    get: (id) => all().find((one) => one.endpoint === id) ?? null,
    put: (one) => {
      known.forget();
      put.run({ ...one, events: JSON.stringify(one.events), enabled: one.enabled ? 1 : 0 });
    },
    remove: (id) => {
      known.forget();
      remove.run({ endpoint: id });
    },
  };
}

function endpointOf(row: typeof endpoints.$inferSelect): StoredEndpoint {
  return {
    ...row,
    endpoint: row.endpoint === "default" ? row.endpoint : endpointIdSchema.parse(row.endpoint),
    events: fromOwnRow<string[]>(row.events).map((event) => hookEventSchema.parse(event)),
    enabled: row.enabled === 1,
    disabled_reason: REASONS.find((reason) => reason === row.disabled_reason) ?? null,
  };
}
