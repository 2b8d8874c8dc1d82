/**
 * Owns what random lives must never break, what they must have met at least once, and how often each was looked at.
 * Invariant: an invariant nobody looked at counts as broken: a promise is held only by lives that could have broken it.
 */

/** Of section 11 of the reliability facts: those that hold of an account object after every step. */
export const INVARIANTS = [
  { id: "I1", title: "no more jobs hold a slot than the limit in force when the last was admitted" },
  { id: "I2", title: "slots held are the jobs that are not over, by the rows and by the object's own account" },
  { id: "I3", title: "a job releases its slot in the step that ends it, and once" },
  { id: "I4", title: "a refused submit leaves no trace" },
  { id: "I5", title: "lowering a limit kills and hides no admitted job" },
  { id: "I6", title: "a retry takes no second slot" },
  { id: "I8", title: "an accepted job is there from then on" },
  { id: "I9", title: "every job comes to its end once faults stop and agents live; until then the alarm is set" },
  { id: "I10", title: "a queued job has its next doorbell written down, or waits for a place or a time" },
  {
    id: "I11",
    title: "a doorbell carries ids alone, and delivering it any number of times in any order grants one claim",
  },
  { id: "I12", title: "an agent that by its own clock still may run a job holds its lease, or the job is over" },
  { id: "I13", title: "an end is one of four and never changes" },
  { id: "I14", title: "only listed transitions happen, with revisions without gaps" },
  { id: "I15", title: "attempts only grow, and no more are charged than allowed; a hand-back is not charged" },
  { id: "I16", title: "a job lost by two agents after it began is over" },
  { id: "I17", title: "nothing outlives its latest end" },
  { id: "I19", title: "a job has at most one live lease, and only while an agent holds it" },
  { id: "I20", title: "a lease that is not the present one changes nothing and hears that it is lost" },
  { id: "I21", title: "at most one attempt of a job commits" },
  { id: "I23", title: "the same report of the same attempt hears the same answer" },
  { id: "I25", title: "nothing of a job becomes visible after its cancel was acknowledged" },
  { id: "I26", title: "of a cancel and a commit one wins, and both callers hear which" },
  { id: "I27", title: "cancelling a job that is over changes nothing" },
  { id: "I29", title: "a job cancelled before its claim never executes" },
  { id: "I30", title: "what is visible is in the bucket with exactly the size and MD5 of the manifest" },
  {
    id: "I31",
    title: "what is visible lies under the prefix of the attempt that committed it, and nothing is written twice",
  },
  { id: "I36", title: "one key and one request make one job" },
  { id: "I37", title: "another request under a used key is refused and nothing runs" },
  { id: "I39", title: "a refused submit is not remembered under its key, an accepted one is" },
  { id: "I41", title: "without any doorbell, offer or publish a life ends all the same" },
  { id: "I54", title: "an account whose clock is set forth or back still ends every job, by the rows alone" },
] as const;
export type InvariantId = (typeof INVARIANTS)[number]["id"];

/** What all lives together must have met. The first eleven are those of the reliability facts. */
export const SOMETIMES = [
  "lease lost and recovered",
  "stale commit refused",
  "cancel beat commit",
  "commit beat cancel",
  "duplicate claim refused",
  "outbox effect sent again",
  "poison reached",
  "slot freed by expiry",
  "replayed submit",
  "412 on upload retried as success",
  "alarm ran twice",
  "doorbell sent again",
  "doorbell lost",
  "doorbell delivered twice at once",
  "doorbell overtaken by a later one",
  "doorbell of an ended attempt gone",
  "submit refused at the limit",
  "limit lowered below its use",
  "commit waited for the bucket",
  "commit refused for what the bucket holds",
  "died with an answer unseen",
  "cancel met a commit in the same moment",
] as const;
export type Sometimes = (typeof SOMETIMES)[number];

const checks = new Map<InvariantId, number>();
const breaks = new Map<InvariantId, string>();
const met = new Map<Sometimes, number>();
export const lives = { run: 0, commands: 0 };

export function sometimes(what: Sometimes): void {
  met.set(what, (met.get(what) ?? 0) + 1);
}
export function metOf(what: Sometimes): number {
  return met.get(what) ?? 0;
}
export function checksOf(id: InvariantId): number {
  return checks.get(id) ?? 0;
}
/** How it was broken first; null: it never was. */
export function breakOf(id: InvariantId): string | null {
  return breaks.get(id) ?? null;
}

/** Notes that `id` was looked at; true when it holds. */
export function holds(id: InvariantId, isSo: boolean, what: string): boolean {
  checks.set(id, checksOf(id) + 1);
  if (!isSo && !breaks.has(id)) breaks.set(id, what);
  return isSo;
}

/** The same for what a command saw itself: throws when it does not hold. */
export function must(id: InvariantId, isSo: boolean, what: string): void {
  if (!holds(id, isSo, what)) throw new Error(`${id}: ${what}`);
}
