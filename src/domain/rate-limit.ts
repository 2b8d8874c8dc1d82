/**
 * Owns the submit bucket: GCRA, one stored time per account.
 * Invariant: in any window admitted <= burst + rate x window; a refusal costs nothing; a clock stepping back grants nothing.
 */

export type Bucket = { readonly per_minute: number; readonly burst: number };
export type Drawn =
  | { readonly ok: true; readonly tat: number; readonly remaining: number; readonly reset_at_ms: number }
  | { readonly ok: false; readonly retry_after_ms: number; readonly reset_at_ms: number };

/** Draws `n` tokens at `now` from a bucket whose theoretical arrival time is `tat` (ms; 0 for a full one). */
export function draw(bucket: Bucket, tat: number, now: number, n: number): Drawn {
  const interval = 60_000 / bucket.per_minute;
  const from = Math.max(now, tat);
  const next = from + n * interval;
  const room = emptyTat(bucket, now);
  if (next > room) return { ok: false, retry_after_ms: Math.ceil(next - room), reset_at_ms: Math.ceil(from) };
  return { ok: true, tat: next, remaining: tokensAt(bucket, next, now), reset_at_ms: Math.ceil(next) };
}

/** The theoretical arrival time of an empty bucket: none is ever later by the clock that wrote it. */
export function emptyTat(bucket: Bucket, now: number): number {
  return now + bucket.burst * (60_000 / bucket.per_minute);
}

/** How a bucket stands, as the rate headers say it; null for no bucket. `policy` names it. */
export function standOf(name: string, bucket: Bucket | null, tat: number, now: number) {
  if (!bucket) return { limit: null, remaining: null, reset_at_ms: now, policy: "" };
  return {
    limit: bucket.per_minute,
    remaining: tokensAt(bucket, tat, now),
    reset_at_ms: Math.ceil(Math.max(tat, now)),
    policy: `"${name}";q=${bucket.per_minute};w=60`,
  };
}

/** Whole tokens in the bucket now. */
export function tokensAt(bucket: Bucket, tat: number, now: number): number {
  const interval = 60_000 / bucket.per_minute;
  const used = Math.max(0, tat - now) / interval;
  return Math.max(0, Math.floor(bucket.burst - used + 1e-9));
}
