/**
 * Owns the memory of keys an object said yes to, for calls where another object does the work (service and admin keys).
 * Invariant: a yes lives 30 s, so a revoked key is refused everywhere within 30 s; a no is never remembered.
 */
import type { AccountRpc, KeyOwner, KeyProof } from "../../objects/contract.ts";
import type { Refusal } from "../../protocol/errors.ts";
import { ok, type Result } from "../../protocol/result.ts";

const YES_LIVES_MS = 30_000;
/** Entries per isolate; the oldest goes first. */
const MAX_ENTRIES = 5_000;

const yes = new Map<string, { owner: KeyOwner; atMs: number }>();

/** Asks the key's object unless it said yes within the last 30 s. */
export async function verifyRemembered(
  object: AccountRpc,
  account: string,
  proof: KeyProof,
  nowMs: number,
): Promise<Result<KeyOwner, Refusal>> {
  const name = `${account}:${proof.keyid}:${proof.secret_sha256}`;
  const known = yes.get(name);
  if (known && isFresh(known.atMs, nowMs)) return ok(known.owner);
  const answer = await object.verifyKey(proof);
  if (!answer.ok) {
    yes.delete(name);
    return answer;
  }
  if (yes.size >= MAX_ENTRIES) for (const oldest of yes.keys()) if (yes.delete(oldest)) break;
  yes.set(name, { owner: answer.value, atMs: nowMs });
  return answer;
}

/** Whether a yes of `atMs` still counts: by a clock that was set back it is not younger than it was. */
export function isFresh(atMs: number, nowMs: number): boolean {
  return Math.abs(nowMs - atMs) < YES_LIVES_MS;
}

/** Forgets a revoked key at once in this isolate; others do within 30 s. */
export function forgetKey(account: string, keyid: string): void {
  for (const name of yes.keys()) if (name.startsWith(`${account}:${keyid}:`)) yes.delete(name);
}

/** The same for all keys of an account. */
export function forgetAccount(account: string): void {
  for (const name of yes.keys()) if (name.startsWith(`${account}:`)) yes.delete(name);
}
