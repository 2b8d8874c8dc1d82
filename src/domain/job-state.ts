/**
 * Owns the life of a job as data: for every status and every event, what may happen.
 * Invariant: the table is total, and nothing but this table ends a job or moves it.
 *
 * A status is a job's public state, but for `preparing`: queued in public, leased ahead to an agent that is still busy.
 * Whoever decides reads one cell, writes its outcome by a guarded statement, and does nothing else.
 */
import type { JobErrorCode } from "../protocol/errors.ts";
import type { JobState } from "../protocol/states.ts";

export const STATUSES = [
  "queued",
  "preparing",
  "running",
  "canceling",
  "succeeded",
  "failed",
  "canceled",
  "expired",
] as const;
export type Status = (typeof STATUSES)[number];

/** Who brings an event decides what an unlisted pair answers: see `cellOf`. */
export const EVENTS = {
  claim: "claimant",
  claim_ahead: "claimant",
  renew: "agent",
  executing: "agent",
  complete: "agent",
  fail: "agent",
  fail_transient: "agent",
  release: "agent",
  stopped: "agent",
  agent_lost: "hint",
  cancel: "client",
  lease_expired: "clock",
  run_deadline: "clock",
  queue_deadline: "clock",
  cancel_deadline: "clock",
  undeliverable: "clock",
} as const;
export type EventName = keyof typeof EVENTS;
export const EVENT_NAMES: readonly EventName[] = [
  "claim",
  "claim_ahead",
  "renew",
  "executing",
  "complete",
  "fail",
  "fail_transient",
  "release",
  "stopped",
  "agent_lost",
  "cancel",
  "lease_expired",
  "run_deadline",
  "queue_deadline",
  "cancel_deadline",
  "undeliverable",
];

/** Facts a guard may ask for. `attempts_left` counts the attempt that ends now as charged. */
export type Facts = { readonly poisoned: boolean; readonly attempts_left: boolean };

/** What becomes of the lease: `shorten` to the socket grace, `end` frees it and keeps its outcome. */
export type LeaseChange = "none" | "grant" | "extend" | "shorten" | "keep" | "end";

export type Rule = {
  readonly to: Status;
  readonly when?: keyof Facts;
  readonly lease: LeaseChange;
  /** The attempt counts against the limit. */
  readonly charge?: true;
  /** The job's error: a code of ours, or what the agent reported. */
  readonly error?: JobErrorCode | "reported";
  /** How long until it may be claimed again. */
  readonly wait?: "none" | "after_failure";
  /** The agent must hear of it: by its progress socket, else by its next renewal. */
  readonly tell_agent?: true;
};

/** `same`: nothing changes and the present state is told. The others are refusals by name. */
export type Cell = readonly Rule[] | "same" | "lease_lost" | "gone" | "already_claimed";

const retried: readonly Rule[] = [
  { to: "queued", when: "attempts_left", lease: "end", charge: true, wait: "after_failure" },
  { to: "failed", lease: "end", charge: true, error: "reported" },
];
const given_back: readonly Rule[] = [{ to: "queued", lease: "end", wait: "none" }];
const refused: readonly Rule[] = [{ to: "failed", lease: "end", charge: true, error: "reported" }];
const committed: readonly Rule[] = [{ to: "succeeded", lease: "end", charge: true }];
const cancelled: readonly Rule[] = [{ to: "canceled", lease: "end" }];

/** The pairs that do something (DESIGN 4). Every other pair answers by who asked. */
export const TABLE: { readonly [S in Status]: { readonly [E in EventName]?: readonly Rule[] } } = {
  queued: {
    claim: [{ to: "running", lease: "grant" }],
    claim_ahead: [{ to: "preparing", lease: "grant" }],
    cancel: [{ to: "canceled", lease: "none" }],
    queue_deadline: [{ to: "expired", lease: "none", error: "QUEUE_TIMEOUT" }],
    undeliverable: [{ to: "failed", lease: "none", error: "UNDELIVERABLE" }],
  },
  preparing: {
    renew: [{ to: "preparing", lease: "extend" }],
    executing: [{ to: "running", lease: "extend" }],
    // A job of milliseconds may end before its `executing` was due: ending says that it ran.
    complete: committed,
    fail: refused,
    fail_transient: retried,
    release: given_back,
    agent_lost: [{ to: "preparing", lease: "shorten" }],
    cancel: [{ to: "canceled", lease: "end", tell_agent: true }],
    // Nothing ran yet: charged, so that an agent dying at every fetch ends somewhere, but no sign of poison.
    lease_expired: [
      { to: "queued", when: "attempts_left", lease: "end", charge: true, wait: "none" },
      { to: "failed", lease: "end", charge: true, error: "AGENT_LOST" },
    ],
    queue_deadline: [{ to: "expired", lease: "end", error: "QUEUE_TIMEOUT", tell_agent: true }],
  },
  running: {
    renew: [{ to: "running", lease: "extend" }],
    executing: [{ to: "running", lease: "extend" }],
    complete: committed,
    fail: refused,
    fail_transient: retried,
    release: given_back,
    agent_lost: [{ to: "running", lease: "shorten" }],
    cancel: [{ to: "canceling", lease: "keep", tell_agent: true }],
    lease_expired: [
      { to: "failed", when: "poisoned", lease: "end", charge: true, error: "POISON" },
      { to: "queued", when: "attempts_left", lease: "end", charge: true, wait: "none" },
      { to: "failed", lease: "end", charge: true, error: "AGENT_LOST" },
    ],
    run_deadline: [{ to: "failed", lease: "end", charge: true, error: "JOB_TIMEOUT", tell_agent: true }],
  },
  canceling: {
    // Answered `cancel`. The lease is not extended: the cancel timer is at most as far away.
    renew: [{ to: "canceling", lease: "keep" }],
    executing: [{ to: "canceling", lease: "keep" }],
    // Cancel wins over everything the agent may still say.
    complete: cancelled,
    fail: cancelled,
    fail_transient: cancelled,
    release: cancelled,
    stopped: cancelled,
    agent_lost: [{ to: "canceling", lease: "shorten" }],
    lease_expired: cancelled,
    cancel_deadline: cancelled,
  },
  succeeded: {},
  failed: {},
  canceled: {},
  expired: {},
};

const ended: ReadonlySet<Status> = new Set<Status>(["succeeded", "failed", "canceled", "expired"]);

export function isEnded(status: Status): boolean {
  return ended.has(status);
}

/** The outcome of any pair: rules, or the answer to a pair that does nothing. */
export function cellOf(status: Status, event: EventName): Cell {
  const rules = TABLE[status][event];
  if (rules) return rules;
  switch (EVENTS[event]) {
    case "agent":
      return "lease_lost";
    case "claimant":
      return isEnded(status) ? "gone" : "already_claimed";
    default:
      return "same";
  }
}

/** The first rule whose guard holds. Every cell ends in a rule without a guard. */
export function ruleOf(rules: readonly Rule[], facts: Facts): Rule {
  const rule = rules.find((r) => r.when === undefined || facts[r.when]);
  if (!rule) throw new Error("a cell of the state table has no rule without a guard");
  return rule;
}

/** The state shown to everyone outside. */
export function publicState(status: Status): JobState {
  return status === "preparing" ? "queued" : status;
}
