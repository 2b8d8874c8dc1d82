/**
 * Owns `Result`: an expected "no" is a value, an exception is a bug or an outage.
 * Invariant: a refusal is data that crosses an RPC unchanged; nothing here throws but `assertNever`.
 */

export type Ok<T> = { readonly ok: true; readonly value: T };
export type Refused<R> = { readonly ok: false; readonly refusal: R };
export type Result<T, R> = Ok<T> | Refused<R>;

export function ok<T>(value: T): Ok<T> {
  return { ok: true, value };
}

export function refuse<R>(refusal: R): Refused<R> {
  return { ok: false, refusal };
}

/** Ends a switch over a union: adding a member without handling it does not compile. */
export function assertNever(value: never): never {
  throw new Error(`unreachable: ${String(value)}`);
}
