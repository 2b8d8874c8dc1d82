/**
 * Owns the guarantees of the submit bucket.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Bucket, draw, tokensAt } from "../../../src/domain/rate-limit.ts";

const bucket = fc.record({ per_minute: fc.integer({ min: 1, max: 600 }), burst: fc.integer({ min: 1, max: 100 }) });
/** Times of requests in ms from a start; steps back are clock faults. */
const waits = (min: number) => fc.array(fc.integer({ min, max: 20_000 }), { maxLength: 200 });

function admittedTimes(limit: Bucket, steps: number[]): number[] {
  let tat = 0;
  let now = 1_000_000;
  const admitted: number[] = [];
  for (const wait of steps) {
    now += wait;
    const drawn = draw(limit, tat, now, 1);
    if (!drawn.ok) continue;
    tat = drawn.tat;
    admitted.push(now);
  }
  return admitted;
}

describe("the submit bucket", () => {
  it("admits at most burst + rate x window in any window (I7)", () => {
    fc.assert(
      fc.property(bucket, waits(0), (limit, steps) => {
        const times = admittedTimes(limit, steps);
        return times.every((from, i) =>
          times.slice(i).every((to, j) => j + 1 <= limit.burst + ((to - from) * limit.per_minute) / 60_000 + 1 + 1e-6),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("grants nothing because the clock stepped back (I7)", () => {
    fc.assert(
      fc.property(bucket, fc.integer({ min: 1, max: 600_000 }), (limit, back) => {
        const now = 10_000_000;
        let tat = 0;
        for (let i = 0; i < limit.burst; i++) {
          const drawn = draw(limit, tat, now, 1);
          if (drawn.ok) tat = drawn.tat;
        }
        return !draw(limit, tat, now - back, 1).ok;
      }),
    );
  });

  it("tells a refused caller exactly when the same request passes", () => {
    fc.assert(
      fc.property(bucket, fc.integer({ min: 1, max: 5 }), (limit, n) => {
        fc.pre(n <= limit.burst);
        let tat = 0;
        for (let i = 0; i < limit.burst; i++) {
          const drawn = draw(limit, tat, 0, 1);
          if (drawn.ok) tat = drawn.tat;
        }
        const refused = draw(limit, tat, 0, n);
        if (refused.ok) return false;
        return draw(limit, tat, refused.retry_after_ms, n).ok && !draw(limit, tat, refused.retry_after_ms - 2, n).ok;
      }),
    );
  });

  it("shows a full bucket before the first request and one token less after it", () => {
    const limit = { per_minute: 60, burst: 20 };
    expect(tokensAt(limit, 0, 1_000)).toBe(20);
    const drawn = draw(limit, 0, 1_000, 1);
    expect(drawn).toMatchObject({ ok: true, remaining: 19 });
  });

  it("refuses more at once than the burst", () => {
    expect(draw({ per_minute: 60, burst: 4 }, 0, 0, 5).ok).toBe(false);
  });
});
