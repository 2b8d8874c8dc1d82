/**
 * Owns whether a lease is the present one, and the times of a lease.
 */
import { describe, expect, it } from "vitest";
import { extended, holdsLease, outcomeOf, shortened } from "../../../src/domain/lease.ts";
import type { AttemptEntry } from "../../../src/domain/live-job.ts";
import { accountIdSchema, type LeaseFields } from "../../../src/protocol/ids.ts";
import { jobIn, leaseOf, METRICS, NOW, TIMES } from "./live-jobs.ts";

const running = jobIn("running", { attempt: 2 });
const present: LeaseFields = {
  account: accountIdSchema.parse("u000000000000000"),
  job: running.job,
  attempt: 2,
  nonce: leaseOf().nonce,
};
const others: [string, LeaseFields][] = [
  ["of an earlier attempt", { ...present, attempt: 1 }],
  ["of an attempt yet to come", { ...present, attempt: 3 }],
  ["with another nonce", { ...present, nonce: "1".repeat(20) }],
];

describe("a lease", () => {
  it("holds when attempt and nonce are the row's", () => {
    expect(holdsLease(running, present)).toBe(true);
  });

  it.each(others)("%s does not hold (I20)", (_, lease) => {
    expect(holdsLease(running, lease)).toBe(false);
  });

  it("holds no job that nobody holds", () => {
    expect(holdsLease({ ...running, lease: null }, present)).toBe(false);
  });

  it("is cut to the grace when its socket is lost, and never made longer by that", () => {
    expect(shortened(leaseOf({ until: NOW + 60_000 }), NOW, TIMES).until).toBe(NOW + 9_000);
    expect(shortened(leaseOf({ until: NOW + 1_000 }), NOW, TIMES).until).toBe(NOW + 1_000);
  });

  it("lasts a full term from each renewal", () => {
    expect(extended(leaseOf({ until: NOW + 1_000 }), NOW, TIMES).until).toBe(NOW + 60_000);
  });
});

describe("the outcome of an attempt", () => {
  const entry: AttemptEntry = {
    attempt: 2,
    nonce: present.nonce,
    agent: "agent-a",
    granted_at: NOW,
    started_at: NOW,
    ended_at: NOW,
    outcome: "complete",
    answer: "succeeded",
    charged: true,
    metrics: METRICS,
  };

  it("is told to the lease that had it", () => {
    expect(outcomeOf([{ ...entry, attempt: 1 }, entry], present)).toBe(entry);
  });

  it.each(others)("is not told to one %s (I20)", (_, lease) => {
    expect(outcomeOf([entry], lease)).toBeNull();
  });
});
