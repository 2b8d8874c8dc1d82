/**
 * Owns what is kept of an attempt when it ends, and which times are set while it stops.
 */
import { describe, expect, it } from "vitest";
import { advance, type LiveEvent } from "../../../src/domain/advance.ts";
import type { EventName, Status } from "../../../src/domain/job-state.ts";
import type { Lease, LiveJob } from "../../../src/domain/live-job.ts";
import { agentsThatLost } from "../../../src/domain/retry-policy.ts";
import { CTX, eventOf, jobIn, METRICS, NOW } from "./live-jobs.ts";

function moved(job: LiveJob, event: EventName) {
  const result = advance(job, eventOf(event), CTX);
  if (result.kind === "none") throw new Error(result.answer);
  return result;
}

describe("a cancelled job", () => {
  it("waits for its agent for 8 s and not longer, however long its lease is", () => {
    const { job } = moved(jobIn("running"), "cancel");
    expect(job).toMatchObject({ status: "canceling", cancel_deadline: NOW + 8_000, run_deadline: null });
  });

  it("waits no longer because its agent renews", () => {
    const { job } = moved(jobIn("canceling"), "renew");
    expect(job).toMatchObject({ cancel_deadline: NOW + 8_000, lease: jobIn("canceling").lease });
  });
});

describe("a job handed back again and again", () => {
  it("waits for its latest end and no longer: four times its timeouts from the submit (I17)", () => {
    const job = jobIn("running", { queued_at: NOW - 16_000_000 });
    expect(moved(job, "release").job.queue_deadline).toBe(NOW + 800_000);
    expect(moved({ ...job, queued_at: NOW }, "release").job.queue_deadline).toBe(NOW + 3_600_000);
  });
});

describe("a failure (I18)", () => {
  const charged = [0, 1, 2];

  it("that is permanent is never tried again, however many attempts are left", () => {
    for (const n of charged) expect(moved(jobIn("running", { charged: n }), "fail").job.status).toBe("failed");
  });

  it("that is transient is tried again after 5 s, then 30 s, give or take a fifth, and no third time", () => {
    for (const random of [0, 0.25, 0.5, 0.999]) {
      const waits = charged.map((n) => {
        const result = advance(jobIn("running", { charged: n }), eventOf("fail_transient"), { ...CTX, random });
        if (result.kind === "none") throw new Error(result.answer);
        return result.job.status === "queued" ? (result.job.not_before ?? 0) - NOW : null;
      });
      expect(waits[2]).toBeNull();
      expect(Math.abs((waits[0] ?? 0) - 5_000)).toBeLessThanOrEqual(1_000);
      expect(Math.abs((waits[1] ?? 0) - 30_000)).toBeLessThanOrEqual(6_000);
    }
  });
});

describe("the kept outcome of an attempt", () => {
  const reported: [Status, EventName, string][] = [
    ["running", "complete", "succeeded"],
    ["running", "fail", "failed"],
    ["running", "fail_transient", "queued"],
    ["running", "release", "queued"],
    ["canceling", "complete", "canceled"],
    ["canceling", "stopped", "canceled"],
  ];
  it.each(reported)("of one %s that ended by %s is what its agent was told: %s (I23)", (status, event, answer) => {
    expect(moved(jobIn(status), event).ended?.answer).toBe(answer);
  });

  const taken: [Status, EventName][] = [
    ["preparing", "cancel"],
    ["preparing", "lease_expired"],
    ["running", "lease_expired"],
    ["running", "run_deadline"],
    ["canceling", "lease_expired"],
    ["canceling", "cancel_deadline"],
  ];
  it.each(taken)("of one %s whose lease was ended by %s holds no answer: it is lost (I20)", (status, event) => {
    expect(moved(jobIn(status), event).ended?.answer).toBeNull();
  });
});

describe("an attempt that failed before it said that it began", () => {
  const preparing = jobIn("preparing", { charged: 2 });
  const moves = (event: EventName) => {
    const result = advance(preparing, eventOf(event), CTX);
    if (result.kind === "none") throw new Error(result.answer);
    return result;
  };
  const failed = (run_ms: number) => {
    const event = { ...eventOf("fail_transient"), metrics: { ...METRICS, run_ms } } as LiveEvent;
    const result = advance(preparing, event, CTX);
    if (result.kind === "none") throw new Error(result.answer);
    return result;
  };

  it("began if it says that it ran: its objects are discarded, and its job counts as started", () => {
    const result = failed(3_000);
    expect(result).toMatchObject({ discard: true, ended: { started_at: NOW - 3_000 } });
    expect(result.job.started_at).toBe(NOW - 3_000);
  });

  it("never began if it says that it did not run", () => {
    expect(failed(0)).toMatchObject({ discard: false, ended: { started_at: null }, job: { started_at: null } });
    expect(moves("release")).toMatchObject({ discard: false });
  });

  it("may have uploaded all the same if it was lost or stopped before it said anything: its objects are discarded", () => {
    for (const event of ["lease_expired", "cancel", "queue_deadline"] as const)
      expect([event, moves(event).discard]).toEqual([event, true]);
  });
});

describe("a job handed back again and again", () => {
  it("keeps on record the attempts that cost something, so that its receipt stays the sum of them", () => {
    let job = moved(jobIn("running", { max_attempts: 9 }), "lease_expired").job;
    for (let n = 0; n < 60; n++) {
      const lease = { ...(jobIn("preparing").lease as Lease), nonce: `n${n}` };
      job = moved({ ...job, status: "preparing", lease, attempt: n + 2 }, "release").job;
    }
    expect(job.memo.attempts.length).toBeLessThanOrEqual(30);
    expect(agentsThatLost(job.memo.attempts)).toEqual(["agent-a"]);
    expect(job.memo.attempts.at(-1)?.attempt).toBe(61);
  });
});

describe("an agent counts as having lost a job", () => {
  it("once ComfyUI had begun there, not before", () => {
    const began = moved(jobIn("running"), "lease_expired").job;
    const prepared = moved(jobIn("preparing"), "lease_expired").job;
    expect(agentsThatLost(began.memo.attempts)).toEqual(["agent-a"]);
    expect(agentsThatLost(prepared.memo.attempts)).toEqual([]);
  });

  it("not for handing it back or failing", () => {
    for (const event of ["release", "fail_transient"] as const)
      expect(agentsThatLost(moved(jobIn("running"), event).job.memo.attempts)).toEqual([]);
  });
});
