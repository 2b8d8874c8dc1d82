/**
 * Owns until when a pause may last: ahead, and at most 30 days.
 * Invariant: operators and agents are held to the same bound.
 */
import type { z } from "zod";
import { type holdSchema, MAX_HOLD_MS } from "../protocol/api/agents.ts";
import { refusalOf } from "../protocol/errors.ts";

export const UNTIL_REFUSAL = refusalOf("VALIDATION_ERROR", "until must lie ahead, at most 30 days from now.", {
  field: "until",
  limit_ms: MAX_HOLD_MS,
});

/** Ms UTC; null: until resumed. */
export function holdUntil({ until }: z.output<typeof holdSchema>, now: number): number | null | "refused" {
  if (!until) return null;
  const at = Date.parse(until);
  return at > now && at - now <= MAX_HOLD_MS ? at : "refused";
}
