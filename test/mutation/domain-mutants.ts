/**
 * Owns the breaks of the domain: the table, leases, limits, waits, the manifest.
 * Invariant: each is one line, and the tests named beside it are the smallest that notice.
 */
import { type Mutant, unit } from "./mutant.ts";

const STATES = unit("domain/job-state.test.ts");
const LEASES = unit("domain/lease.test.ts");
const ATTEMPTS = unit("domain/attempts.test.ts");
const ADMISSION = unit("domain/admission.test.ts");
const BUCKET = unit("domain/rate-limit.test.ts");
const WAITS = unit("domain/waiting.test.ts");

export const DOMAIN_MUTANTS: readonly Mutant[] = [
  {
    file: "src/domain/lease.ts",
    find: "job.attempt === lease.attempt && job.lease.nonce",
    replace: "job.lease.nonce",
    why: "a lease of another attempt would hold",
    tests: LEASES,
  },
  {
    file: "src/domain/lease.ts",
    find: "job.attempt === lease.attempt && job.lease.nonce === lease.nonce",
    replace: "job.attempt === lease.attempt",
    why: "a lease with a guessed nonce would hold",
    tests: LEASES,
  },
  {
    file: "src/domain/lease.ts",
    find: "Math.min(lease.until, now + times.socket_grace_ms)",
    replace: "now + times.socket_grace_ms",
    why: "a lost socket could lengthen a lease",
    tests: LEASES,
  },
  {
    file: "src/domain/lease.ts",
    find: "(a) => a.attempt === lease.attempt && a.nonce === lease.nonce",
    replace: "(a) => a.attempt === lease.attempt",
    why: "the last outcome would be told to a lease that never was",
    tests: LEASES,
  },
  {
    file: "src/domain/job-state.ts",
    find: "complete: cancelled,",
    replace: "complete: committed,",
    why: "a complete would beat the cancel acknowledged before it",
    tests: STATES,
  },
  {
    file: "src/domain/job-state.ts",
    find: '{ to: "failed", when: "poisoned", lease: "end", charge: true, error: "POISON" },',
    replace: "",
    why: "a poisonous job would kill a third agent",
    tests: STATES,
  },
  {
    file: "src/domain/job-state.ts",
    find: '[{ to: "queued", lease: "end", wait: "none" }]',
    replace: '[{ to: "queued", lease: "end", charge: true, wait: "none" }]',
    why: "a job handed back would be charged",
    tests: STATES,
  },
  {
    file: "src/domain/job-state.ts",
    find: 'return isEnded(status) ? "gone" : "already_claimed";',
    replace: 'return "already_claimed";',
    why: "an agent would take the doorbell of an ended job for one in good hands",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "attempts_left: job.charged + 1 < job.max_attempts",
    replace: "attempts_left: job.charged + 1 <= job.max_attempts",
    why: "a job would be tried once more than the limit",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "attempt: job.attempt + 1, ring_at",
    replace: "ring_at",
    why: "an attempt number would be used twice",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "told.cancel_deadline ?? ctx.now + ctx.times.cancel_grace_ms",
    replace: "told.cancel_deadline",
    why: "a cancelled job of a dead agent would wait for its lease",
    tests: ATTEMPTS,
  },
  {
    file: "src/domain/advance.ts",
    find: 'discard: ended !== null && rule.to !== "succeeded" && (',
    replace: "discard: ended !== null && (",
    why: "the objects of a committed attempt would be deleted",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "Math.min(MOST_BEFORE_SUCCESS, Math.max(next.progress, event.progress))",
    replace: "Math.min(MOST_BEFORE_SUCCESS, event.progress)",
    why: "progress would fall",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "not_before: wait_ms > 0 ? ctx.now + wait_ms : null,",
    replace: "not_before: null,",
    why: "a failed attempt would be tried again without backoff",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "const revision = job.revision + 1;",
    replace: "const revision = job.revision;",
    why: "two transitions would carry one revision",
    tests: STATES,
  },
  {
    file: "src/domain/advance.ts",
    find: "answer: reported ? publicState(rule.to) : null,",
    replace: "answer: publicState(rule.to),",
    why: "an agent whose lease was taken away would be told that its report was heard",
    tests: ATTEMPTS,
  },
  {
    file: "src/domain/retry-policy.ts",
    find: ".size >= POISON_AGENTS",
    replace: ".size > POISON_AGENTS",
    why: "poison would need a third agent",
    tests: STATES,
  },
  {
    file: "src/domain/retry-policy.ts",
    find: 'a.outcome === "lease_expired" && a.started_at !== null',
    replace: 'a.outcome === "lease_expired"',
    why: "an agent lost before ComfyUI began would be a sign of poison",
    tests: ATTEMPTS,
  },
  {
    file: "src/domain/wake.ts",
    find: "FIRST_RING_MS * 2 ** Math.min(Math.max(rings, 1) - 1, 10)",
    replace: "FIRST_RING_MS",
    why: "a job nobody takes would ring every minute for ever",
    tests: WAITS,
  },
  {
    file: "src/domain/wake.ts",
    find: "return Math.min(now + job.queue_timeout_ms, latestEnd(job));",
    replace: "return now + job.queue_timeout_ms;",
    why: "a job handed back again and again would live for ever",
    tests: ATTEMPTS,
  },
  {
    file: "src/domain/rate-limit.ts",
    find: "const from = Math.max(now, tat);",
    replace: "const from = now;",
    why: "the bucket would forget what was drawn",
    tests: BUCKET,
  },
  {
    file: "src/domain/admission.ts",
    find: "standing.today(role.daily) + asked.jobs > role.daily",
    replace: "standing.today(role.daily) > role.daily",
    why: "the daily quota would let one more pass",
    tests: ADMISSION,
  },
  {
    file: "src/domain/admission.ts",
    find: "standing.active() + asked.jobs > role.max_active",
    replace: "standing.active() > role.max_active",
    why: "a bulk submit would pass max_active",
    tests: ADMISSION,
  },
  {
    file: "src/domain/admission.ts",
    find: "standing.backlog >= rules.max_queued",
    replace: "standing.backlog > rules.max_queued",
    why: "the pool's queue would grow past its limit",
    tests: ADMISSION,
  },
  {
    file: "src/domain/manifest.ts",
    find: "object.size_bytes === entry.size_bytes && object.md5 === entry.md5",
    replace: "object.size_bytes === entry.size_bytes",
    why: "bytes other than the agent's own would be committed",
    tests: WAITS,
  },
  {
    file: "src/domain/manifest.ts",
    find: "object.size_bytes === entry.size_bytes && object.md5 === entry.md5",
    replace: "object.md5 === entry.md5",
    why: "a file of another size would be committed",
    tests: WAITS,
  },
  {
    file: "src/domain/manifest.ts",
    find: "isUnderPrefix(entry.key, prefix) && ",
    replace: "",
    why: "an attempt could commit the objects of another",
    tests: WAITS,
  },
  {
    file: "src/domain/manifest.ts",
    find: "if (!object || object.size_bytes === null || object.md5 === null || entry.md5 === null) return false;",
    replace: "if (!object) return true;",
    why: "a file that is not in the bucket would be committed",
    tests: WAITS,
  },
  {
    file: "src/domain/job-id.ts",
    find: "const next = low + 1 + ",
    replace: "const next = low + ",
    why: "a job could get the id of the one before",
    tests: unit("domain/job-id.test.ts"),
  },
];
