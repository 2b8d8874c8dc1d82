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
  const isKey = eq(keys.keyid, slot("keyid"));
  const get = db.select().from(keys).where(isKey).prepare();
  const insert = db.insert(keys).values(slots(keys)).onConflictDoNothing().returning({ keyid: keys.keyid }).prepare();
  const all = db.select().from(keys).orderBy(desc(keys.created_at)).prepare();
  const used = db
    .update(keys)
    .set({ last_used_at: slot("now") })
    .where(isKey)
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
    used: (keyid, now) => {
      known.forget(keyid);
      used.run({ keyid, now });
    },
    ...endsOf(db, (keyid) => known.forget(keyid)),
  };
}

/** How keys end: no write here ever lengthens a life. */
function endsOf(db: AccountDb, forget: (keyid: string) => void): Pick<KeyTable, "revoke" | "expire" | "eraseAll"> {
  const isKey = eq(keys.keyid, slot("keyid"));
  const revoke = db
    .update(keys)
    .set({ revoked_at: slot("now") })
    .where(and(isKey, isNull(keys.revoked_at)))
    .prepare();
  const expire = db
    .update(keys)
    .set({ expires_at: slot("at") })
    .where(and(isKey, or(isNull(keys.expires_at), gt(keys.expires_at, slot("at")))))
    .prepare();
  const eraseAll = db
    .update(keys)
    .set({ name: "", revoked_at: sql`coalesce(${keys.revoked_at}, ${slot("now")})` })
    .returning({ keyid: keys.keyid })
    .prepare();
  return {
    revoke: (keyid, now) => {
      forget(keyid);
      revoke.run({ keyid, now });
    },
    expire: (keyid, at) => {
      forget(keyid);
      expire.run({ keyid, at });
    },
    eraseAll: (now) => {
      for (const { keyid } of eraseAll.all({ now })) forget(keyid);
    },
  };
}

function keyOf(row: typeof keys.$inferSelect): StoredKey {
  const kind = KEY_KINDS.find((k) => k === row.kind);
  if (!kind) throw new Error("a key of an unknown kind is stored");
  return { ...row, kind, keyid: keyIdSchema.parse(row.keyid) };
}
