/**
 * Owns the order of job ids.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextJobId } from "../../../src/domain/job-id.ts";
import type { JobId } from "../../../src/protocol/ids.ts";
import { NOW } from "./live-jobs.ts";

describe("a new job id", () => {
  it("is greater than every earlier one, however the clock goes", () => {
    const draws = fc.record({
      step: fc.integer({ min: -5_000, max: 2_000 }),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(draws, { maxLength: 300 }), (list) => {
        let newest: JobId | null = null;
        let now = NOW;
        for (const { step, random } of list) {
          now += step;
          const id: JobId = nextJobId(newest, now, random);
          if (newest !== null && id <= newest) return false;
          newest = id;
        }
        return true;
      }),
    );
  });

  it("names the second it was drawn in, and stays near it for a thousand jobs in that second", () => {
    let newest = nextJobId(null, NOW, 0.999);
    for (let i = 0; i < 1_000; i++) newest = nextJobId(newest, NOW, 0.999);
    expect(Number.parseInt(newest.slice(2, 10), 16) - NOW / 1000).toBeLessThanOrEqual(1);
  });
});
