/**
 * Owns the order and the arithmetic of admission.
 */
import { describe, expect, it } from "vitest";
import { type AdmissionRules, admit, refusedShape, type Standing } from "../../../src/domain/admission.ts";
import { DEFAULT_ROLES } from "../../../src/protocol/roles.ts";

const NOON = Date.UTC(2030, 0, 2, 12);
const RULES: AdmissionRules = { role: DEFAULT_ROLES.free, role_name: "free", rate_limited: true, max_queued: 1_000 };

function standing(over: { today?: number; active?: number; tat?: number; backlog?: number | null } = {}): Standing {
  return {
    tat: over.tat ?? 0,
    today: (limit) => Math.min(over.today ?? 0, limit + 1),
    active: () => over.active ?? 0,
    backlog: over.backlog ?? null,
  };
}
const one = { jobs: 1, priorities: [0] };
const codeOf = (over: Parameters<typeof standing>[0], rules = RULES) => {
  const result = admit(one, standing(over), rules, NOON);
  return result.ok ? "admitted" : result.refusal.code;
};

describe("admission", () => {
  it("admits up to each limit and not one more", () => {
    expect(codeOf({ today: 9, active: 4, backlog: 999 })).toBe("admitted");
    expect(codeOf({ today: 10 })).toBe("QUOTA_EXCEEDED");
    expect(codeOf({ active: 5 })).toBe("CONCURRENCY_LIMIT");
    expect(codeOf({ backlog: 1_000 })).toBe("QUEUE_FULL");
  });

  it("names the first limit in the order bucket, day, active, capacity", () => {
    const full = { today: 99, active: 99, backlog: 9_999, tat: NOON + 3_600_000 };
    expect(codeOf(full)).toBe("RATE_LIMIT_EXCEEDED");
    expect(codeOf({ ...full, tat: 0 })).toBe("QUOTA_EXCEEDED");
    expect(codeOf({ ...full, tat: 0, today: 0 })).toBe("CONCURRENCY_LIMIT");
    expect(codeOf({ ...full, tat: 0, today: 0, active: 0 })).toBe("QUEUE_FULL");
  });

  it("admits all jobs of a command or none", () => {
    const pro = { ...RULES, role: DEFAULT_ROLES.pro, role_name: "pro" } as const;
    const four = { jobs: 4, priorities: [0, 0, 0, 0] };
    expect(admit(four, standing({ active: 21 }), pro, NOON).ok).toBe(true);
    expect(admit(four, standing({ active: 22 }), pro, NOON).ok).toBe(false);
  });

  it("says of every refusal when to come again", () => {
    for (const over of [{ today: 10 }, { active: 5 }, { backlog: 1_000 }, { tat: NOON + 3_600_000 }]) {
      const result = admit(one, standing(over), RULES, NOON);
      expect(result.ok || result.refusal.retry_after_ms).toBeGreaterThan(0);
    }
  });

  it("opens the daily quota again at midnight UTC", () => {
    const result = admit(one, standing({ today: 10 }), RULES, NOON);
    expect(result.ok || result.refusal.retry_after_ms).toBe(12 * 3_600_000);
  });

  it("knows no bucket for a role without one, nor while rate limits are off", () => {
    const internal = { ...RULES, role: DEFAULT_ROLES.internal, role_name: "internal" } as const;
    expect(codeOf({ tat: NOON + 3_600_000 }, internal)).toBe("admitted");
    expect(codeOf({ tat: NOON + 3_600_000 }, { ...RULES, rate_limited: false })).toBe("admitted");
  });

  it("lets only operators' accounts raise a priority, and nobody submit more at once than the role says", () => {
    expect(refusedShape({ jobs: 1, priorities: [1] }, RULES)?.details.field).toBe("priority");
    expect(refusedShape({ jobs: 2, priorities: [0, 0] }, RULES)?.details.limit).toBe(1);
    const internal = { ...RULES, role: DEFAULT_ROLES.internal, role_name: "internal" } as const;
    expect(refusedShape({ jobs: 10, priorities: [9] }, internal)).toBeNull();
  });

  it.each([
    ["submit_burst", { submit_burst: 3 }],
    ["submit_burst", { submit_burst: null, submits_per_minute: 3 }],
    ["max_active", { max_active: 3 }],
    ["daily", { daily: 3 }],
  ])(
    "tells a request that exceeds %s as such that no waiting helps, instead of when to come again: %o",
    (limit, over) => {
      const rules = { ...RULES, role: { ...DEFAULT_ROLES.pro, ...over }, role_name: "pro" } as const;
      const refused = refusedShape({ jobs: 4, priorities: [0] }, rules);
      expect(refused).toMatchObject({ code: "VALIDATION_ERROR", details: { field: "jobs", limit: 3 } });
      expect(refused?.message).toContain(limit);
      expect(refusedShape({ jobs: 3, priorities: [0] }, rules)).toBeNull();
      expect(admit({ jobs: 3, priorities: [0] }, standing(), rules, NOON).ok).toBe(true);
    },
  );

  it("holds nobody to a burst while rate limits are off", () => {
    const role = { ...DEFAULT_ROLES.pro, submit_burst: 2 };
    const four = { jobs: 4, priorities: [0] };
    expect(refusedShape(four, { ...RULES, role, role_name: "pro" })?.details.limit).toBe(2);
    expect(refusedShape(four, { ...RULES, role, role_name: "pro", rate_limited: false })).toBeNull();
  });
});
