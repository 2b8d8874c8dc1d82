/**
 * Owns how keys and account ids are made, and what an object is told of a presented key.
 * Invariant: a secret leaves this file once, inside the new key's text; objects get its SHA-256 alone.
 */
import { CODE_SECRET_LENGTH } from "../protocol/agent-self.ts";
import {
  type AccountId,
  accountIdSchema,
  base32,
  type KeyFields,
  type KeyId,
  type KeyKind,
  keyIdSchema,
  type PoolName,
} from "../protocol/ids.ts";
import { randomBase32, sha256Bytes, sha256Hex } from "./hash.ts";
import type { Macs } from "./macs.ts";

/** What the Worker knows of a key after its MAC held; `objects/contract` names the same shape KeyProof. */
export type Proof = { kind: KeyKind; keyid: KeyId; secret_sha256: string };

/** A key as shown once to its owner, and what is stored of it. */
export type MintedKey = { text: string; keyid: KeyId; secret_sha256: string };

const SECRET_LENGTH = 52;

/** Draws a new key. `account` is the 16-character account id, or the pool's id for agent tokens. */
export function mintKey(macs: Macs, kind: KeyKind, account: string): MintedKey {
  const keyid = keyIdSchema.parse(randomBase32(8));
  const secret = randomBase32(SECRET_LENGTH);
  return { text: macs.signKey({ kind, account, keyid, secret }), keyid, secret_sha256: sha256Hex(secret) };
}

/** A code for an agent of the pool, and what is stored of it. */
export function mintCode(macs: Macs, pool: PoolName): { text: string; code_sha256: string } {
  const text = macs.signCode({ pool, secret: randomBase32(CODE_SECRET_LENGTH) });
  return { text, code_sha256: sha256Hex(text) };
}

export function proofOf(fields: KeyFields): Proof {
  return { kind: fields.kind, keyid: fields.keyid, secret_sha256: sha256Hex(fields.secret) };
}

/** A new user's account: `u` + 15 random characters (75 bits). */
export function newAccountId(): AccountId {
  return accountIdSchema.parse(`u${randomBase32(15)}`);
}

/** The account of a tenant under a service key: `t` + the first 15 of base32(SHA-256(parent, 0, X-User-ID)). */
export function tenantAccountId(parent: AccountId, userId: string): AccountId {
  return accountIdSchema.parse(`t${base32(sha256Bytes(`${parent}\0${userId}`)).slice(0, 15)}`);
}
