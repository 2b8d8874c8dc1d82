/**
 * Owns which keys want an operator's attention.
 * Invariant: an ended key never does; times are milliseconds UTC.
 */
import type { OverdueReason } from "../protocol/api/keys.ts";

type Key = { created_at: number; expires_at: number | null; last_used_at: number | null; stands: boolean };
/** Made at or before `made_before`; last used (or made) at or before `unused_since`; ending at or before `ends_before`. */
export type AgeRules = { made_before: number; unused_since: number; ends_before: number };

export function overdueReasons(key: Key, rules: AgeRules): OverdueReason[] {
  if (!key.stands) return [];
  const reasons: OverdueReason[] = [];
  if (key.created_at <= rules.made_before) reasons.push("old");
  if ((key.last_used_at ?? key.created_at) <= rules.unused_since) reasons.push("unused");
  if (key.expires_at !== null && key.expires_at <= rules.ends_before) reasons.push("ends_soon");
  return reasons;
}
