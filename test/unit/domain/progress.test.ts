/**
 * Owns the guarantees of what a viewer is shown: numbers that grow, a share that never falls, whose frames count.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePreview, previewBytes } from "../../../src/domain/preview.ts";
import {
  heard,
  isPresent,
  type LiveProgress,
  MOST_BEFORE_SUCCESS,
  NO_PROGRESS,
  nextSeq,
  resumedSeq,
  shownProgress,
} from "../../../src/domain/progress.ts";
import { JOB_STATES } from "../../../src/protocol/states.ts";

const share = fc.double({ min: 0, max: 1, noNaN: true });
const said = fc.record({ attempt: fc.integer({ min: 1, max: 4 }), progress: share, detail: fc.constant(null) });

describe("the numbers of frames", () => {
  it("grow strictly whatever the clock does, and follow it when it runs ahead (I40)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2e12 })), (clock) => {
        let last = 0;
        for (const now of clock) {
          const next = nextSeq(last, now);
          expect(next).toBeGreaterThan(last);
          expect(next).toBeGreaterThanOrEqual(now);
          last = next;
        }
      }),
    );
  });

  it("never fall for what a returning client claims, and rise by a minute beyond the clock at most", () => {
    fc.assert(
      fc.property(fc.nat(1e9), fc.option(fc.nat(1e9)), fc.nat(1e9), (last, seen, now) => {
        const resumed = resumedSeq(last, seen, now);
        expect(resumed).toBeGreaterThanOrEqual(last);
        expect(resumed).toBeLessThanOrEqual(Math.max(last, now + 60_000));
      }),
    );
  });
});

describe("the share shown", () => {
  it("never falls within an attempt, whatever its agents say in whatever order", () => {
    fc.assert(
      fc.property(fc.array(said), fc.integer({ min: 1, max: 4 }), share, (reports, attempt, stored) => {
        let live: LiveProgress = NO_PROGRESS;
        let shown = 0;
        for (const report of reports) {
          live = heard(live, report);
          const next = shownProgress({ status: "running", attempt, progress: stored }, live);
          if (live.attempt > attempt) break;
          expect(next).toBeGreaterThanOrEqual(shown);
          shown = next;
        }
      }),
    );
  });

  it("is 1 exactly when the job succeeded", () => {
    fc.assert(
      fc.property(fc.constantFrom(...JOB_STATES), share, said, (status, stored, live) => {
        const shown = shownProgress({ status, attempt: 1, progress: stored }, live);
        if (status === "succeeded") expect(shown).toBe(1);
        else expect(shown).toBeLessThanOrEqual(MOST_BEFORE_SUCCESS);
      }),
    );
  });

  it("is the record's while the job waits, however far its last attempt came", () => {
    const live = { attempt: 2, progress: 0.8, detail: null };
    expect(shownProgress({ status: "queued", attempt: 2, progress: 0 }, live)).toBe(0);
    expect(shownProgress({ status: "running", attempt: 3, progress: 0 }, live)).toBe(0);
  });
});

describe("whose frames count", () => {
  const record = (status: (typeof JOB_STATES)[number], attempt: number) => ({ status, attempt, revision: 7 });

  it("are those of the attempt that runs, and of no earlier one", () => {
    expect(isPresent(2, record("running", 2), null)).toBe("yes");
    expect(isPresent(2, record("canceling", 2), null)).toBe("yes");
    expect(isPresent(1, record("running", 2), null)).toBe("no");
  });

  it("are nobody's once the job is over", () => {
    for (const status of ["succeeded", "failed", "canceled", "expired"] as const)
      expect(isPresent(2, record(status, 2), { revision: 7, attempt: 2 })).toBe("no");
  });

  it("are asked about when nothing is known, or only something older than the attempt", () => {
    expect(isPresent(1, null, null)).toBe("unknown");
    expect(isPresent(3, record("running", 2), null)).toBe("unknown");
    expect(isPresent(2, record("queued", 2), null)).toBe("unknown");
    expect(isPresent(2, record("queued", 2), { revision: 6, attempt: 2 })).toBe("unknown");
  });

  it("are, for a job claimed ahead, those of the lease read at the same revision", () => {
    expect(isPresent(2, record("queued", 2), { revision: 7, attempt: 2 })).toBe("yes");
    expect(isPresent(2, record("queued", 2), { revision: 7, attempt: null })).toBe("no");
  });
});

describe("a preview", () => {
  const header = fc.record({
    type: fc.constant("preview" as const),
    ts: fc.nat(),
    node: fc.option(fc.string({ maxLength: 50 })),
    content_type: fc.constantFrom("image/jpeg" as const, "image/png" as const, "image/webp" as const),
  });

  it("comes back from its bytes as it went in", () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ minLength: 1, maxLength: 500 }), (given, image) => {
        const parsed = parsePreview(previewBytes(given, image).buffer as ArrayBuffer);
        expect(parsed?.header).toEqual(given);
        expect(parsed && [...parsed.image]).toEqual([...image]);
      }),
    );
  });

  it("is nothing when its bytes are anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(parsePreview(bytes.slice().buffer as ArrayBuffer)).toBeNull();
      }),
    );
    expect(parsePreview(new ArrayBuffer(1_048_577))).toBeNull();
  });
});
