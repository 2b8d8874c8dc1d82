/**
 * Owns when a webhook is tried again and when it is given up.
 * Invariant: pure. Tries lie at the published offsets from the first one, each with jitter; only 2xx is a success; a target is
 * never tried earlier than it asked for.
 */
import type { TryOutcome } from "../protocol/webhooks.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Milliseconds after the first try, of a schedule that spans a day. */
const OFFSETS_MS = [0, 5_000, 5 * MINUTE_MS, 30 * MINUTE_MS, ...[2, 5, 10, 14, 20, 24].map((hours) => hours * HOUR_MS)];
export const SPAN_MS = 24 * HOUR_MS;
/** Of the gap before a try, both ways. */
const JITTER = 0.1;
const MIN_RETRY_AFTER_MS = 1_000;

/** `status` null: no answer. `retry_after_ms` null: none was named, or it could not be read. */
export type Tried = {
  readonly outcome: TryOutcome;
  readonly status: number | null;
  readonly retry_after_ms: number | null;
  readonly duration_ms: number;
};

/** `gone`: the target wants nothing more, ever. */
export function verdictOf(tried: Tried): "delivered" | "gone" | "refused" | "again" {
  if (tried.outcome === "target_refused") return "refused";
  const { status } = tried;
  if (status !== null && status >= 200 && status <= 299) return "delivered";
  return status === 410 ? "gone" : "again";
}

/**
 * When the next try is due after `tries` of them, or null when none follows.
 * `span_ms` scales the whole schedule; `random` in [0, 1).
 */
export function nextTryAt(given: {
  first_at: number;
  tries: number;
  span_ms: number;
  retry_after_ms: number | null;
  now: number;
  random: number;
}): number | null {
  const { first_at, tries, now } = given;
  const scale = given.span_ms / SPAN_MS;
  const offsets = OFFSETS_MS.map((offset) => offset * scale);
  // A try that came late (a target that asked to wait, a queue that was down) does not bring the ones it missed with it.
  const next = offsets.findIndex((offset, i) => i >= tries && first_at + offset > now);
  const offset = offsets[next];
  if (offset === undefined) return null;
  const gap = offset - (offsets[next - 1] ?? 0);
  const at = Math.round(first_at + offset + gap * JITTER * (2 * given.random - 1));
  const asked =
    given.retry_after_ms === null ? 0 : now + Math.min(SPAN_MS, Math.max(MIN_RETRY_AFTER_MS, given.retry_after_ms));
  return Math.max(at, asked, now + 1);
}

/** `Retry-After` in milliseconds from `now`: seconds, or an HTTP date; null for what is neither. */
export function retryAfterMs(header: string | null, now: number): number | null {
  if (header === null) return null;
  const text = header.trim();
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1000;
  const at = /^[A-Za-z]{3}, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
