/**
 * Holds the schedule of webhooks to what docs/webhooks.md publishes, whatever chance and targets do.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextTryAt, retryAfterMs, SPAN_MS, type Tried, verdictOf } from "../../../src/domain/hook-schedule.ts";

const HOUR_MS = 3_600_000;
/** Hours after the event, as published. */
const PUBLISHED = [0, 5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24];
const tried = (status: number | null, outcome: Tried["outcome"] = "answered"): Tried => ({
  outcome,
  status,
  retry_after_ms: null,
  duration_ms: 1,
});

/** The times of all tries of a target that answers at once and always fails. */
function tries(
  random: () => number,
  span_ms = SPAN_MS,
  retryAfter: (n: number) => number | null = () => null,
): number[] {
  const times = [0];
  for (let now = 0; times.length < 100; ) {
    const retry_after_ms = retryAfter(times.length);
    const next = nextTryAt({ first_at: 0, tries: times.length, span_ms, retry_after_ms, now, random: random() });
    if (next === null) return times;
    now = next;
    times.push(next);
  }
  throw new Error("the tries never end");
}

describe("a webhook's schedule", () => {
  it("makes the ten published tries over a day, each within a tenth of its gap", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 9, maxLength: 9 }),
        (chances) => {
          let n = 0;
          const times = tries(() => chances[n++ % chances.length] ?? 0);
          expect(times).toHaveLength(PUBLISHED.length);
          for (const [i, time] of times.entries()) {
            const gap = (PUBLISHED[i] ?? 0) - (PUBLISHED[i - 1] ?? 0);
            expect(Math.abs(time / HOUR_MS - (PUBLISHED[i] ?? 0))).toBeLessThanOrEqual(gap * 0.1 + 1e-6);
          }
        },
      ),
    );
  });

  it("scales as a whole", () => {
    const [day, minute] = [tries(() => 0.5), tries(() => 0.5, 60_000)];
    expect(minute.map((time) => Math.round(time / 100))).toEqual(
      day.map((time) => Math.round(((time / SPAN_MS) * 60_000) / 100)),
    );
  });

  it("always ends, grows, and never comes before what the target asked for: 1 s to 24 h (F86)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.integer({ min: 0, max: 10 * SPAN_MS })), { minLength: 1, maxLength: 12 }),
        (asks) => {
          const ask = (n: number) => asks[n % asks.length] ?? null;
          const times = tries(() => 0.5, SPAN_MS, ask);
          expect(times.length).toBeLessThanOrEqual(PUBLISHED.length);
          expect(times.at(-1)).toBeLessThanOrEqual(2 * SPAN_MS);
          for (const [i, time] of times.entries()) {
            if (i === 0) continue;
            const asked = ask(i);
            const waited = time - (times[i - 1] ?? 0);
            expect(waited).toBeGreaterThan(0);
            if (asked !== null) expect(waited).toBeGreaterThanOrEqual(Math.min(SPAN_MS, Math.max(1_000, asked)));
          }
        },
      ),
    );
  });
});

describe("a try", () => {
  it("has succeeded with a 2xx alone; 410 and a refused target end it, everything else comes again", () => {
    const verdicts = [200, 204, 299].map((status) => verdictOf(tried(status)));
    expect(verdicts).toEqual(["delivered", "delivered", "delivered"]);
    for (const status of [100, 199, 300, 301, 304, 400, 401, 404, 409, 429, 500, 503])
      expect(verdictOf(tried(status))).toBe("again");
    expect(verdictOf(tried(410))).toBe("gone");
    expect(verdictOf(tried(null, "timeout"))).toBe("again");
    expect(verdictOf(tried(null, "unreachable"))).toBe("again");
    expect(verdictOf(tried(null, "target_refused"))).toBe("refused");
  });

  it.each([
    ["120", 120_000],
    [" 0 ", 0],
    ["999999999999", 999_999_999_999_000],
    ["Thu, 01 Jan 1970 00:01:40 GMT", 90_000],
    ["Thu, 01 Jan 1970 00:00:01 GMT", 0],
    ["soon", null],
    ["-5", null],
    ["1.5", null],
    ["", null],
    [null, null],
  ])("reads Retry-After %j as %j ms", (header, ms) => {
    expect(retryAfterMs(header, 10_000)).toBe(ms);
  });
});
