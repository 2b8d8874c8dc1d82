/**
 * Owns the list of jobs that are ready and which idle agent is offered which of them.
 * Invariant: at most 2,000 entries, none older than 10 minutes; a job is offered to one agent at a time, not to one that
 * just did not take it; higher priority goes first, within one the account whose turn it is, within an account the older job,
 * but for jobs that fit the models an agent has loaded: those may overtake others of their priority, none of them for over 2 s.
 */
import type { AccountId, JobId } from "../protocol/ids.ts";
import { type Charge, FairTurns } from "./fair-turns.ts";

export const MAX_READY = 2_000;
export const READY_LIFE_MS = 600_000;
/** An offer unanswered for so long goes to the next agent. */
export const OFFER_ANSWER_MS = 1_000;
/** An agent that did not take a job is asked for it again after this, four times as long each further time. */
const ASK_AGAIN_MS = 1_000;
const LONGEST_ASK_AGAIN_MS = 120_000;
/** Not taken so often, a job is left to its doorbell: offering on would only cost claims. */
const MAX_REFUSALS = 10;
/** A job is overtaken for the sake of loaded models for so long; then it goes first wherever it goes. */
export const OVERTAKEN_MS = 2_000;
/** An agent that let an offer lie comes behind those that answer for so long. */
const SLOW_FOR_MS = 30_000;

/** One ready job. `weight` at least 1; `models` are names an agent should have loaded. */
export type Ready = {
  readonly ref: string;
  readonly account: AccountId;
  readonly job: JobId;
  readonly attempt: number;
  readonly priority: number;
  readonly weight: number;
  readonly models: readonly string[];
};

/** An agent process as the list sees it. `free`: idle slots; `loaded`: names of models in its memory. */
export type Candidate = { readonly id: string; readonly free: number; readonly loaded: ReadonlySet<string> };

export type Given = { readonly ref: string; readonly agent: string; readonly weight: number };

type Entry = {
  readonly ready: Ready;
  readonly added_at: number;
  offer: { readonly agent: string; readonly until: number; readonly charge: Charge } | null;
  /** Agent -> how often it did not take the job, and when it may be asked again. */
  readonly asked: Map<string, { times: number; again_at: number }>;
  refusals: number;
  /** Since when others went before it out of their turn, ms UTC. */
  overtaken_at: number | null;
};

export class ReadyList {
  readonly #entries = new Map<string, Entry>();
  readonly #turns = new FairTurns();
  /** Agent -> offers it has not answered. */
  readonly #unanswered = new Map<string, number>();
  /** Agent -> when it was given its last job, and when it last let an offer lie. */
  readonly #givenAt = new Map<string, number>();
  readonly #slowAt = new Map<string, number>();

  get size(): number {
    return this.#entries.size;
  }

  has(ref: string): boolean {
    return this.#entries.has(ref);
  }

  /** The agent an offer of this job waits at, or null. */
  offeredTo(ref: string): string | null {
    return this.#entries.get(ref)?.offer?.agent ?? null;
  }

  /** False when it is known already or the list is full: its doorbell carries it. */
  add(ready: Ready, now: number): boolean {
    if (this.#entries.has(ready.ref) || this.#entries.size >= MAX_READY) return false;
    this.#entries.set(ready.ref, {
      ready,
      added_at: now,
      offer: null,
      asked: new Map(),
      refusals: 0,
      overtaken_at: null,
    });
    return true;
  }

  /** Taken back, or no longer to be had. */
  withdraw(ref: string): void {
    const entry = this.#entries.get(ref);
    if (!entry) return;
    this.#endOffer(entry, true);
    this.#entries.delete(ref);
  }

  /** An agent runs it. The charge is settled with `finished`; null when the job was not in the list. */
  taken(ref: string): Charge | null {
    const entry = this.#entries.get(ref);
    if (!entry) return null;
    const charge = entry.offer?.charge ?? this.began(entry.ready.account, entry.ready.weight);
    this.#endOffer(entry, false);
    this.#entries.delete(ref);
    return charge;
  }

  /** An agent runs a job that was not in the list (its doorbell was faster): the account is charged all the same. */
  began(account: AccountId, weight: number): Charge {
    const turn = this.#turns.turnOf(account);
    const waiting = [...this.#entries.values()].filter(({ offer }) => offer === null);
    return this.#turns.give(
      account,
      weight,
      waiting.every(({ ready }) => this.#turns.turnOf(ready.account) >= turn),
    );
  }

  finished(charge: Charge, seconds: number): void {
    this.#turns.finish(charge, seconds);
  }

  /** The agent does not take it: it goes to others, and to this one later. Said again meanwhile it says nothing new. */
  refused(ref: string, agent: string, now: number): void {
    const entry = this.#entries.get(ref);
    if (!entry) return;
    if (entry.offer?.agent === agent) this.#endOffer(entry, true);
    else if (!mayAsk(entry, agent, now)) return;
    this.#askLater(entry, agent, now);
  }

  /** The agent had no slot left when the offer came: no answer about the job. */
  missed(ref: string, agent: string): void {
    const entry = this.#entries.get(ref);
    if (entry?.offer?.agent === agent) this.#endOffer(entry, true);
  }

  /** The agent may have what it had not: it is asked again for everything. */
  anew(agent: string): void {
    for (const { asked } of this.#entries.values()) asked.delete(agent);
  }

  /** The agent is gone: what it was offered goes to others. */
  gone(agent: string): void {
    for (const entry of this.#entries.values()) if (entry.offer?.agent === agent) this.#endOffer(entry, true);
    for (const known of [this.#unanswered, this.#givenAt, this.#slowAt]) known.delete(agent);
  }

  /** Ends offers unanswered for 1 s and entries older than 10 minutes. The offers that lay. */
  sweep(now: number): Given[] {
    const lay: Given[] = [];
    for (const [ref, entry] of this.#entries) {
      if (entry.offer !== null && entry.offer.until <= now) {
        const { agent } = entry.offer;
        lay.push({ ref, agent, weight: entry.ready.weight });
        this.#endOffer(entry, true);
        this.#slowAt.set(agent, now);
        this.#askLater(entry, agent, now);
      }
      if (entry.added_at + READY_LIFE_MS <= now) this.withdraw(ref);
    }
    return lay;
  }

  /** When to look again (ms UTC): an offer lies, an entry is too old, an agent may be asked again. Null: the list is empty. */
  nextLook(now: number): number | null {
    let next: number | null = null;
    for (const { added_at, offer, asked } of this.#entries.values()) {
      let due = Math.min(added_at + READY_LIFE_MS, offer?.until ?? Number.POSITIVE_INFINITY);
      for (const { again_at } of asked.values()) if (again_at > now) due = Math.min(due, again_at);
      next = next === null ? due : Math.min(next, due);
    }
    return next;
  }

  /** Offers the next job to the best of the idle agents; null when none of them may take any. Counts as offered from here on. */
  give(candidates: readonly Candidate[], now: number): Given | null {
    const idle = candidates.filter(({ id, free }) => free > (this.#unanswered.get(id) ?? 0));
    if (idle.length === 0) return null;
    const first = this.#nextFor(now, () => idle);
    if (first === null) return null;
    const entry = this.#overtaking(first, idle, now) ?? first;
    const agent = this.#bestFor(entry, idle, now);
    if (agent === null) return null;
    const charge = this.began(entry.ready.account, entry.ready.weight);
    entry.offer = { agent, until: now + OFFER_ANSWER_MS, charge };
    this.#unanswered.set(agent, (this.#unanswered.get(agent) ?? 0) + 1);
    this.#givenAt.set(agent, now);
    return { ref: entry.ready.ref, agent, weight: entry.ready.weight };
  }

  /** @param among the agents that count for a job. */
  #nextFor(now: number, among: (entry: Entry) => readonly Candidate[]): Entry | null {
    let best: Entry | null = null;
    for (const entry of this.#entries.values()) {
      if (entry.offer !== null || (best !== null && !this.#goesBefore(entry, best))) continue;
      if (among(entry).some(({ id }) => mayAsk(entry, id, now))) best = entry;
    }
    return best;
  }

  /** A job that finds its models loaded where `first` would not, unless one that it would pass by was passed for 2 s. */
  #overtaking(first: Entry, idle: readonly Candidate[], now: number): Entry | null {
    const warm = warmFor(idle);
    if (warm(first).some(({ id }) => mayAsk(first, id, now))) return null;
    const { priority } = first.ready;
    const other = this.#nextFor(now, (entry) => (entry.ready.priority === priority ? warm(entry) : []));
    if (other === null) return null;
    const passed = this.#before(other).filter((entry) => idle.some(({ id }) => mayAsk(entry, id, now)));
    if (passed.some(({ overtaken_at }) => overtaken_at !== null && overtaken_at + OVERTAKEN_MS <= now)) return null;
    for (const entry of passed) entry.overtaken_at ??= now;
    return other;
  }

  /** Those not offered that go before it. */
  #before(one: Entry): Entry[] {
    let isAfter = false;
    return [...this.#entries.values()].filter((entry) => {
      if (entry === one) isAfter = true;
      if (entry === one || entry.offer !== null) return false;
      return isAfter ? this.#goesBefore(entry, one) : !this.#goesBefore(one, entry);
    });
  }

  /** Entries are kept in the order they came: the later of two equals never goes before. */
  #goesBefore(a: Entry, b: Entry): boolean {
    if (a.ready.priority !== b.ready.priority) return a.ready.priority > b.ready.priority;
    if (a.ready.account === b.ready.account) return false;
    return this.#turns.turnOf(a.ready.account) < this.#turns.turnOf(b.ready.account);
  }

  /** Models loaded first, then who answers, then who was given nothing for longest. */
  #bestFor(entry: Entry, idle: readonly Candidate[], now: number): string | null {
    const rank = ({ id, loaded }: Candidate) => [
      entry.ready.models.filter((model) => !loaded.has(model)).length,
      now - (this.#slowAt.get(id) ?? Number.NEGATIVE_INFINITY) < SLOW_FOR_MS ? 1 : 0,
      this.#givenAt.get(id) ?? 0,
    ];
    let best: { id: string; rank: number[] } | null = null;
    for (const candidate of idle) {
      if (!mayAsk(entry, candidate.id, now)) continue;
      const ranked = { id: candidate.id, rank: rank(candidate) };
      if (best === null || isLess(ranked.rank, best.rank)) best = ranked;
    }
    return best?.id ?? null;
  }

  #askLater(entry: Entry, agent: string, now: number): void {
    const times = (entry.asked.get(agent)?.times ?? 0) + 1;
    const wait = Math.min(LONGEST_ASK_AGAIN_MS, ASK_AGAIN_MS * 4 ** (times - 1));
    entry.asked.set(agent, { times, again_at: now + wait });
    entry.refusals += 1;
    if (entry.refusals >= MAX_REFUSALS) this.withdraw(entry.ready.ref);
  }

  #endOffer(entry: Entry, takesBack: boolean): void {
    if (entry.offer === null) return;
    const { agent, charge } = entry.offer;
    entry.offer = null;
    const left = (this.#unanswered.get(agent) ?? 1) - 1;
    if (left > 0) this.#unanswered.set(agent, left);
    else this.#unanswered.delete(agent);
    if (takesBack) this.#turns.takeBack(charge);
  }
}

function mayAsk(entry: Entry, agent: string, now: number): boolean {
  return (entry.asked.get(agent)?.again_at ?? 0) <= now;
}

/** The agents that have a job's models loaded; all of them for a job that names none. Looked for once for each set of models. */
function warmFor(idle: readonly Candidate[]): (entry: Entry) => readonly Candidate[] {
  const known = new Map<string, readonly Candidate[]>();
  return ({ ready: { models } }) => {
    const key = models.join("\n");
    const found = known.get(key) ?? idle.filter(({ loaded }) => models.every((model) => loaded.has(model)));
    known.set(key, found);
    return found;
  };
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  for (const [i, value] of a.entries()) {
    const other = b[i] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
