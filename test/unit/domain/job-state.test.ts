/**
 * Owns the proof that the state table is the design's table: every event in every status, written out a second time.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { advance } from "../../../src/domain/advance.ts";
import {
  cellOf,
  EVENT_NAMES,
  EVENTS,
  type EventName,
  isEnded,
  STATUSES,
  type Status,
  TABLE,
} from "../../../src/domain/job-state.ts";
import { dueOf, type LiveJob } from "../../../src/domain/live-job.ts";
import { CTX, eventOf, jobIn, leaseOf, NOW } from "./live-jobs.ts";

type Expected = Status | "same" | "lease_lost" | "gone" | "already_claimed";

/** Where each event leads from each status, with attempts left and no poison. Unlisted: see `unlisted`. */
const EXPECTED: { [S in Status]: { [E in EventName]?: Status } } = {
  queued: {
    claim: "running",
    claim_ahead: "preparing",
    cancel: "canceled",
    queue_deadline: "expired",
    undeliverable: "failed",
  },
  preparing: {
    renew: "preparing",
    executing: "running",
    complete: "succeeded",
    fail: "failed",
    fail_transient: "queued",
    release: "queued",
    agent_lost: "preparing",
    cancel: "canceled",
    lease_expired: "queued",
    queue_deadline: "expired",
  },
  running: {
    renew: "running",
    executing: "running",
    complete: "succeeded",
    fail: "failed",
    fail_transient: "queued",
    release: "queued",
    agent_lost: "running",
    cancel: "canceling",
    lease_expired: "queued",
    run_deadline: "failed",
  },
  canceling: {
    renew: "canceling",
    executing: "canceling",
    complete: "canceled",
    fail: "canceled",
    fail_transient: "canceled",
    release: "canceled",
    stopped: "canceled",
    agent_lost: "canceling",
    lease_expired: "canceled",
    cancel_deadline: "canceled",
  },
  succeeded: {},
  failed: {},
  canceled: {},
  expired: {},
};

function unlisted(status: Status, event: EventName): Expected {
  if (event === "claim" || event === "claim_ahead") return isEnded(status) ? "gone" : "already_claimed";
  return EVENTS[event] === "agent" ? "lease_lost" : "same";
}

const pairs = STATUSES.flatMap((status) => EVENT_NAMES.map((event) => ({ status, event })));

describe("the state table", () => {
  it.each(pairs)("from $status, $event leads where the design says and nowhere else", ({ status, event }) => {
    const expected = EXPECTED[status][event] ?? unlisted(status, event);
    const job = jobIn(status);
    const result = advance(job, eventOf(event), CTX);
    if (result.kind === "none") {
      expect(result.answer).toBe(expected);
      return;
    }
    expect(result.job.status).toBe(expected);
    expect(result.transition).toBe(expected !== status);
    expect(result.job.revision).toBe(job.revision + (expected === status ? 0 : 1));
    expect(result.ending !== null).toBe(isEnded(result.job.status));
  });

  it("names every event exactly once", () => {
    expect([...EVENT_NAMES].sort()).toEqual(Object.keys(EVENTS).sort());
  });

  it("ends every cell in a rule without a guard", () => {
    for (const status of STATUSES)
      for (const [event, rules] of Object.entries(TABLE[status]))
        expect(rules.at(-1)?.when, `${status} ${event}`).toBeUndefined();
  });

  it("lets nothing leave a terminal state (I13)", () => {
    for (const { status, event } of pairs) if (isEnded(status)) expect(typeof cellOf(status, event)).toBe("string");
  });
});

/** A sequence of events that starts at a fresh job; events that do not fit do nothing. */
const walk = fc.array(
  fc.record({
    event: fc.constantFrom(...EVENT_NAMES),
    wait: fc.integer({ min: 0, max: 900_000 }),
    progress: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  { maxLength: 40 },
);
type Step = { event: EventName; wait: number; progress: number };

function* steps(sequence: Step[]): Generator<{ was: LiveJob; now: LiveJob; at: number }> {
  let job = jobIn("queued");
  let at = NOW;
  for (const { event: name, wait, progress } of sequence) {
    at += wait;
    const event = eventOf(name);
    const result = advance(job, "progress" in event ? { ...event, progress } : event, { ...CTX, now: at });
    if (result.kind === "none") continue;
    yield { was: job, now: result.job, at };
    job = result.job;
  }
}

function always(check: (was: LiveJob, now: LiveJob, at: number) => boolean): void {
  fc.assert(
    fc.property(walk, (sequence) => [...steps(sequence)].every(({ was, now, at }) => check(was, now, at))),
    { numRuns: 2_000 },
  );
}

describe("any sequence of events", () => {
  it("has a lease exactly while an agent holds the job (I19)", () => {
    always((_, now) => (now.lease !== null) === ["preparing", "running", "canceling"].includes(now.status));
  });

  it("numbers attempts upwards, by one, at a claim alone (I15, I20)", () => {
    always((was, now) => now.attempt === was.attempt + (was.lease === null && now.lease !== null ? 1 : 0));
  });

  it("counts revisions without gaps (I14)", () => {
    always((was, now) => now.revision === was.revision + (now.status === was.status ? 0 : 1));
  });

  it("never charges more attempts than allowed, nor more than began", () => {
    always((_, now) => now.charged <= now.max_attempts && now.charged <= now.attempt);
  });

  it("always leaves the clock something to do until the end was told (I17)", () => {
    always((_, now) => dueOf(now) !== null);
  });

  it("never ends in success once a cancel was acknowledged (I25)", () => {
    always((was, now) => was.status !== "canceling" || ["canceling", "canceled"].includes(now.status));
  });

  it("bounds every wait by a time that later requeues do not move for ever (I17)", () => {
    const last = jobIn("queued").queued_at + 4 * (3_600_000 + 600_000);
    always((_, now) => now.queue_deadline === null || now.queue_deadline <= last);
  });

  it("keeps progress from falling within an attempt (I40)", () => {
    always((was, now) => was.attempt !== now.attempt || now.status === "queued" || now.progress >= was.progress);
  });
});

describe("a lost lease", () => {
  const lost = (agent: string) => ({
    attempt: 1,
    nonce: "n",
    agent,
    granted_at: 0,
    started_at: 1,
    ended_at: 2,
    outcome: "lease_expired",
    answer: null,
    charged: true,
    metrics: null,
  });
  const running = (attempts: ReturnType<typeof lost>[], charged: number) =>
    jobIn("running", { charged, memo: { attempts, events: [], notes: [], logs: [] } });
  const expire = (job: LiveJob) => {
    const result = advance(job, eventOf("lease_expired"), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    return result;
  };

  it("makes the job poison when a second agent loses it, even with attempts left (I16)", () => {
    expect(expire(running([lost("agent-z")], 1)).ending?.error?.code).toBe("POISON");
  });

  it("on the same agent twice is no poison", () => {
    expect(expire(running([lost("agent-a")], 1)).job.status).toBe("queued");
  });

  it("before ComfyUI began is no sign of poison", () => {
    const job = jobIn("preparing", {
      charged: 1,
      memo: { attempts: [lost("agent-z")], events: [], notes: [], logs: [] },
    });
    expect(expire(job).job.status).toBe("queued");
  });

  it("of the last charged attempt ends the job as lost", () => {
    expect(expire(running([], 2)).ending).toMatchObject({ status: "failed", error: { code: "AGENT_LOST" } });
  });

  it("is tried again at once", () => {
    expect(expire(running([], 0)).job.not_before).toBeNull();
  });

  it("charges the GPU for the time the lease showed it running", () => {
    expect(expire(running([], 2)).ending?.receipt).toMatchObject({ gpu_seconds: 9, attempts_charged: 3 });
  });
});

describe("a transient failure", () => {
  it.each([
    [0, 5_000],
    [1, 30_000],
  ])("after %i charged attempts waits about %i ms", (charged, base) => {
    for (const [random, factor] of [
      [0, 0.8],
      [0.5, 1],
      [0.999999, 1.2],
    ] as const) {
      const result = advance(jobIn("running", { charged }), eventOf("fail_transient"), { ...CTX, random });
      if (result.kind === "none") throw new Error(result.answer);
      expect(result.job.not_before).toBeGreaterThanOrEqual(NOW + base * factor - 1);
      expect(result.job.not_before).toBeLessThanOrEqual(NOW + base * factor + 1);
    }
  });

  it("of the last charged attempt ends the job with what the agent reported", () => {
    const result = advance(jobIn("running", { charged: 2 }), eventOf("fail_transient"), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    expect(result.ending?.error).toMatchObject({ code: "COMFYUI_EXECUTION", message: "a node failed" });
  });
});

describe("a renewal", () => {
  it("never shows a job as done before it succeeded, whatever its agent says", () => {
    const result = advance(jobIn("running"), { name: "executing", progress: 1, detail: null }, CTX);
    if (result.kind === "none") throw new Error(result.answer);
    expect(result.job.progress).toBeLessThan(1);
    expect(result.job.progress).toBeGreaterThan(0.99);
  });
});

describe("a release", () => {
  it("is not charged, and leaves the queue deadline of a job that never began", () => {
    const job = jobIn("preparing");
    const result = advance(job, eventOf("release"), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    expect(result.job).toMatchObject({ charged: 0, attempt: 1, queue_deadline: job.queue_deadline, not_before: null });
  });

  it("of a running job begins a new wait in the queue", () => {
    const result = advance(jobIn("running"), eventOf("release"), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    expect(result.job.queue_deadline).toBe(NOW + 3_600_000);
  });
});

describe("the objects of an attempt", () => {
  it("are discarded unless it was committed, or handed back before it began", () => {
    for (const { status, event } of pairs) {
      const result = advance(jobIn(status), eventOf(event), CTX);
      if (result.kind === "none" || !result.ended) continue;
      const mayHave = status !== "preparing" || event !== "release";
      expect(result.discard, `${status} ${event}`).toBe(mayHave && result.job.status !== "succeeded");
    }
  });
});

describe("an attempt that ends before it said that it began", () => {
  it("began as long ago as it says it ran, but not before its claim", () => {
    const job = jobIn("preparing", { lease: leaseOf({ started_at: null, granted_at: NOW - 2_000 }) });
    const result = advance(job, eventOf("complete"), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    expect(result.job).toMatchObject({ status: "succeeded", started_at: NOW - 2_000 });
  });
});
