/**
 * Owns which tests run only in `npm run test:long`.
 * Invariant: what is left out of `npm test` is left out for its time alone, and by SKIP_REASONS.long.
 */
import { it } from "vitest";

/** As `it`; skipped where `npm test` has no time for it. */
export const itIfLong = it.skipIf(process.env.LONG !== "1");
