/**
 * Owns the account's API keys: the hash of each secret, never the secret.
 * Invariant: a revoked key stays as a row, so that its id is never given out again.
 */
import { and, desc, eq, gt, isNull, or, sql } from "drizzle-orm";
import { KEY_KINDS, type KeyId, type KeyKind, keyIdSchema } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { keys } from "./schema.ts";
import { slot, slots } from "./slots.ts";

const KNOWN_KEYS = 100;

export type StoredKey = {
  readonly keyid: KeyId;
  readonly kind: KeyKind;
  readonly secret_sha256: string;
  readonly name: string;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  readonly last_used_at: number | null;
};

export type KeyTable = {
  get(keyid: KeyId): StoredKey | null;
  /** False when the id is taken. */
  insert(key: StoredKey): boolean;
  /** Newest first. */
  all(): StoredKey[];
  /** Keeps the first time of revocation. */
  revoke(keyid: KeyId, now: number): void;
  /** Brings the end of a key nearer; it never moves away. */
  expire(keyid: KeyId, at: number): void;
  used(keyid: KeyId, now: number): void;
  /** Ends every key that still stands, and forgets the names people gave them. */
  eraseAll(now: number): void;
};

export function keyTable(db: AccountDb, memory: AccountMemory): KeyTable {
  const known = memory.keyed<StoredKey | null>(KNOWN_KEYS);
  const get = db
    .select()
    .from(keys)
    .where(eq(keys.keyid, slot("keyid")))
    .prepare();
  const insert = db.insert(keys).values(slots(keys)).onConflictDoNothing().returning({ keyid: keys.keyid }).prepare();
  const all = db.select().from(keys).orderBy(desc(keys.created_at)).prepare();
  const revoke = db
    .update(keys)
    .set({ revoked_at: slot("now") })
    .where(and(eq(keys.keyid, slot("keyid")), isNull(keys.revoked_at)))
    .prepare();
  const expire = db
    .update(keys)
    .set({ expires_at: slot("at") })
    .where(and(eq(keys.keyid, slot("keyid")), or(isNull(keys.expires_at), gt(keys.expires_at, slot("at")))))
    .prepare();
  const eraseAll = db
    .update(keys)
    .set({ name: "", revoked_at: sql`coalesce(${keys.revoked_at}, ${slot("now")})` })
    .prepare();
  const used = db
    .update(keys)
    .set({ last_used_at: slot("now") })
    .where(eq(keys.keyid, slot("keyid")))
    .prepare();
  return {
    get: (keyid) =>
      known.get(keyid, () => {
        const row = get.get({ keyid });
        return row ? keyOf(row) : null;
      }),
    insert: (key) => {
      known.forget(key.keyid);
      return insert.all({ ...key }).length === 1;
    },
    all: () => all.all().map(keyOf),
    revoke: (keyid, now) => {
      known.forget(keyid);
      revoke.run({ keyid, now });
    },
    expire: (keyid, at) => {
      known.forget(keyid);
      expire.run({ keyid, at });
    },
    used: (keyid, now) => {
      known.forget(keyid);
      used.run({ keyid, now });
    },
    eraseAll: (now) => {
      for (const { keyid } of all.all()) known.forget(keyid);
      eraseAll.run({ now });
    },
  };
}

function keyOf(row: typeof keys.$inferSelect): StoredKey {
  const kind = KEY_KINDS.find((k) => k === row.kind);
  if (!kind) throw new Error("a key of an unknown kind is stored");
  return { ...row, kind, keyid: keyIdSchema.parse(row.keyid) };
}
