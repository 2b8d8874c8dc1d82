/**
 * Owns the shape of every id, and the formats that carry several of them (ref, lease, ticket, key).
 * Invariant: an id that passed its parser holds only `[0-9a-z_]`; no text given by a user is ever part of one.
 *
 * The MACs of ref, lease, ticket and key are made and checked in `platform/macs`; here is only their spelling.
 */
import { z } from "zod";

/** Crockford's base 32 in lower case: no i, l, o, u, so that a key can be read out loud. */
export const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";

export const accountIdSchema = z
  .string()
  .regex(/^[a-z0-9]{16}$/)
  .brand<"AccountId">();
/** 16 characters: `u` + 15 random for users, `t` + 15 of a hash for tenants, `sys0…` for the operators. */
export type AccountId = z.infer<typeof accountIdSchema>;
export const SYS_ACCOUNT = accountIdSchema.parse("sys0000000000000");

export const jobIdSchema = z
  .string()
  .regex(/^j_[0-9a-f]{12}$/)
  .brand<"JobId">();
/** `j_` + 12 hex: 32 bits of seconds, then 16 random bits, so that ids sort by time. */
export type JobId = z.infer<typeof jobIdSchema>;

export const keyIdSchema = z
  .string()
  .regex(/^[0-9a-z]{8}$/)
  .brand<"KeyId">();
export type KeyId = z.infer<typeof keyIdSchema>;

/** Begins with a letter: then a name padded with `0` on the left to 16 characters is its id, both ways. */
export const poolNameSchema = z
  .string()
  .regex(/^[a-z][a-z0-9]{0,15}$/)
  .brand<"PoolName">();
export type PoolName = z.infer<typeof poolNameSchema>;

/** The `<account>` field of an agent token: the pool's name padded to 16 characters. */
export function poolIdOf(pool: PoolName): string {
  return pool.padStart(16, "0");
}

export function poolNameOf(poolId: string): PoolName | null {
  const parsed = poolNameSchema.safeParse(poolId.replace(/^0+/, ""));
  return parsed.success ? parsed.data : null;
}

/** `X-User-ID` under a service key, and `user_id` in bodies. */
export const userIdSchema = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,128}$/);

/** The nonce of a lease: 20 characters of base 32 (100 bits), kept in the job's row. */
export const leaseNonceSchema = z.string().regex(/^[0-9a-z]{20}$/);

export type LeaseFields = { account: AccountId; job: JobId; attempt: number; nonce: string };
export type RefFields = { account: AccountId; job: JobId; attempt: number; pool: PoolName };
export type TicketFields = { account: AccountId; job: JobId; expires_s: number; nonce: string };
export const KEY_KINDS = ["user", "service", "admin", "agent"] as const;
export type KeyKind = (typeof KEY_KINDS)[number];
export type KeyFields = { kind: KeyKind; account: string; keyid: KeyId; secret: string };

/** A MAC in text: one character that names the MAC key, then 26 of base 32 (128 bits). */
const MAC = "([0-9a-z]{27})";

const LEASE = new RegExp(`^(l_([a-z0-9]{16})_([0-9a-f]{12})_(\\d{1,6})_([0-9a-z]{20}))_${MAC}$`);
const REF = new RegExp(`^(r_([a-z0-9]{16})_([0-9a-f]{12})_(\\d{1,6})_([a-z][a-z0-9]{0,15}))_${MAC}$`);
const TICKET = new RegExp(`^(tk_([a-z0-9]{16})_([0-9a-f]{12})_(\\d{10})_([0-9a-z]{36}))_${MAC}$`);
const KEY = new RegExp(`^(ce_(user|service|admin|agent)_([a-z0-9]{16})_([0-9a-z]{8})_([0-9a-z]{52}))_${MAC}$`);

/** Text before its MAC, the MAC, and the fields: not yet trusted. */
export type Unchecked<F> = { readonly body: string; readonly mac: string; readonly fields: F };

export function leaseBody(f: LeaseFields): string {
  return `l_${f.account}_${f.job.slice(2)}_${f.attempt}_${f.nonce}`;
}
export function parseLease(text: string): Unchecked<LeaseFields> | null {
  const [, body, account, job, attempt, nonce, mac] = LEASE.exec(text) ?? [];
  if (!body || !account || !job || !attempt || !nonce || !mac) return null;
  return { body, mac, fields: { account: accountOf(account), job: jobOf(job), attempt: Number(attempt), nonce } };
}

/** A ref names the attempt that would begin: the job's last attempt number plus one. */
export function refBody(f: RefFields): string {
  return `r_${f.account}_${f.job.slice(2)}_${f.attempt}_${f.pool}`;
}
export function parseRef(text: string): Unchecked<RefFields> | null {
  const [, body, account, job, attempt, pool, mac] = REF.exec(text) ?? [];
  if (!body || !account || !job || !attempt || !pool || !mac) return null;
  const name = poolNameSchema.safeParse(pool);
  if (!name.success) return null;
  return {
    body,
    mac,
    fields: { account: accountOf(account), job: jobOf(job), attempt: Number(attempt), pool: name.data },
  };
}

export function ticketBody(f: TicketFields): string {
  return `tk_${f.account}_${f.job.slice(2)}_${String(f.expires_s).padStart(10, "0")}_${f.nonce}`;
}
export function parseTicket(text: string): Unchecked<TicketFields> | null {
  const [, body, account, job, expires, nonce, mac] = TICKET.exec(text) ?? [];
  if (!body || !account || !job || !expires || !nonce || !mac) return null;
  return { body, mac, fields: { account: accountOf(account), job: jobOf(job), expires_s: Number(expires), nonce } };
}

/** The nonce of a ticket names the key it was made with (a tenant's lives with its parent), then 12 random characters. */
export function ticketNonce(key: { account: AccountId; keyid: KeyId }, random12: string): string {
  return `${key.account}${key.keyid}${random12}`;
}
export function ticketKeyOf(nonce: string): { account: AccountId; keyid: KeyId } {
  return { account: accountOf(nonce.slice(0, 16)), keyid: keyIdSchema.parse(nonce.slice(16, 24)) };
}

export function keyBody(f: KeyFields): string {
  return `ce_${f.kind}_${f.account}_${f.keyid}_${f.secret}`;
}
export function parseKey(text: string): Unchecked<KeyFields> | null {
  const [, body, kind, account, keyid, secret, mac] = KEY.exec(text) ?? [];
  const known = KEY_KINDS.find((k) => k === kind);
  if (!body || !known || !account || !keyid || !secret || !mac) return null;
  return { body, mac, fields: { kind: known, account, keyid: keyIdSchema.parse(keyid), secret } };
}

function accountOf(text: string): AccountId {
  return accountIdSchema.parse(text);
}
function jobOf(hex: string): JobId {
  return jobIdSchema.parse(`j_${hex}`);
}

/** A job id from the second it was made in and 16 random bits. Redraw `random16` on conflict. */
export function jobIdFrom(nowMs: number, random16: number): JobId {
  const seconds = Math.floor(nowMs / 1000) % 2 ** 32;
  const hex = seconds.toString(16).padStart(8, "0") + (random16 & 0xffff).toString(16).padStart(4, "0");
  return jobOf(hex);
}

/** Base 32 of bytes, most significant bit first, unpadded (32 bytes -> 52 characters, 16 -> 26). */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32.charAt((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  if (bits > 0) text += BASE32.charAt((held << (5 - bits)) & 31);
  return text;
}
