/**
 * Owns a simulated fleet that works: agents take what they are offered, load models and run, accounts ring as theirs do.
 * Invariant: on vitest's clock; the dispatcher is the real one, or one that gives the oldest job to whoever is idle.
 */
import { vi } from "vitest";
import type { Offer } from "../../../src/objects/contract.ts";
import { Dispatch } from "../../../src/objects/pool/dispatch.ts";
import type { Fleet } from "../../../src/objects/pool/fleet.ts";
import type { SlotChange } from "../../../src/objects/pool/slot.ts";
import { accountIdSchema, jobIdSchema } from "../../../src/protocol/ids.ts";
import { FakeFleet } from "./fleet.ts";

/** A doorbell that was not heard is rung again after this, with its offer. */
const RING_MS = 60_000;
/** An agent whose control socket is well pulls the queue so often. */
const PULL_MS = 60_000;
/** From an offer to the claim. */
const CLAIM_MS = 5;

export type SimJob = {
  readonly owner: string;
  readonly run_ms: number;
  readonly model?: string;
  readonly weight?: number;
};
export type Ran = SimJob & { n: number; at: number; started: number; ended: number; agent: string; loaded: boolean };

/** What hands out jobs: the pool's dispatcher, or the baseline. */
export type Server = {
  add(offers: readonly Offer[]): void;
  changed(change: SlotChange, agent: string): void;
};
export const fair = (fleet: Fleet): Server => new Dispatch(fleet);

/** First come, first served, to the first idle agent. */
export function fifo(fleet: Fleet): Server {
  const queue: Offer[] = [];
  const given = new Set<string>();
  const run = () => {
    for (const { id } of fleet.candidates()) {
      if (given.has(id)) continue;
      const next = queue.shift();
      if (!next) return;
      given.add(id);
      fleet.send(id, { type: "offer", ref: next.ref, ahead: false });
    }
  };
  const known = new Set<string>();
  return {
    add: (offers) => {
      for (const offer of offers) if (!known.has(offer.ref)) queue.push(offer);
      for (const { ref } of offers) known.add(ref);
      run();
    },
    changed: ({ took }, agent) => {
      if (took.length > 0) given.delete(agent);
      run();
    },
  };
}

export class World {
  readonly ran: Ran[] = [];
  readonly fleet: FakeFleet;
  readonly #load_ms: number;
  readonly #make: (fleet: Fleet) => Server;
  #server: Server;
  readonly #waiting = new Map<string, { offer: Offer; job: SimJob; at: number; n: number }>();
  /** Refs of doorbells that nobody has pulled. */
  readonly #queue: string[] = [];
  #made = 0;
  #lives = 0;

  constructor(agents: number, make: (fleet: Fleet) => Server, load_ms = 0) {
    this.fleet = new FakeFleet(Array.from({ length: agents }, (_, n) => `agent-${n}`));
    this.#make = make;
    this.#load_ms = load_ms;
    this.#server = make(this.#view());
    for (const { id } of this.fleet.agents) setInterval(() => this.#pull(id), PULL_MS);
    this.fleet.onTold = (agent, message) => {
      if (message.type === "offer") setTimeout(() => this.#claim(agent, message.ref), CLAIM_MS);
    };
  }

  /** Jobs that have been submitted and did not begin. */
  get waiting(): number {
    return this.#waiting.size;
  }

  submit(jobs: readonly SimJob[]): void {
    const offers = jobs.map((job) => {
      const account = accountIdSchema.parse(job.owner.padEnd(16, "0"));
      const id = jobIdSchema.parse(`j_${String(++this.#made).padStart(12, "0")}`);
      const ref = `r_${account}_${id.slice(2)}_1_default_${"0".repeat(27)}`;
      const models = job.model === undefined ? [] : [job.model];
      const offer = { ref, account, job: id, attempt: 1, priority: 0, weight: job.weight ?? 1, models };
      this.#waiting.set(ref, { offer, job, at: Date.now(), n: this.#made });
      return offer;
    });
    this.#ring(offers);
  }

  /** The dispatcher's memory is lost, with what it was about to do. What waits is known to its account and the queue alone. */
  forget(): void {
    this.#lives++;
    this.#server = this.#make(this.#view());
  }

  /** The fleet as one life of the dispatcher sees it: what an earlier one says reaches nobody. */
  #view(): Fleet {
    const { fleet } = this;
    const life = this.#lives;
    return {
      candidates: (only) => fleet.candidates(only),
      aheadCandidates: (only) => fleet.aheadCandidates(only),
      claimedAhead: () => fleet.claimedAhead(),
      runs: (ref) => fleet.runs(ref),
      send: (id, message) => life === this.#lives && fleet.send(id, message),
    };
  }

  /** Doorbell and offer for those of them that still wait. */
  #ring(offers: readonly Offer[]): void {
    const left = offers.filter(({ ref }) => this.#waiting.has(ref));
    if (left.length === 0) return;
    setTimeout(() => this.#ring(left), RING_MS);
    this.#queue.push(...left.map(({ ref }) => ref));
    this.#server.add(left);
  }

  /** One doorbell for an idle agent; those of jobs that are no longer to be had are acknowledged on the way. */
  #pull(id: string): void {
    for (let ref = this.#queue.shift(); ref !== undefined; ref = this.#queue.shift())
      if (this.#waiting.has(ref)) {
        if (this.fleet.of(id).state === "idle") this.#claim(id, ref);
        else this.#queue.unshift(ref);
        return;
      }
  }

  #claim(id: string, ref: string): void {
    const agent = this.fleet.of(id);
    const waiting = this.#waiting.get(ref);
    if (!waiting || agent.state !== "idle") return;
    this.#waiting.delete(ref);
    Object.assign(agent, { state: "busy", ref });
    this.#server.changed({ took: [ref], done: [] }, id);
    const { job, at, n } = waiting;
    const loaded = job.model === undefined || agent.loaded.includes(job.model);
    if (job.model !== undefined) agent.loaded = [job.model];
    const started = Date.now();
    setTimeout(
      () => {
        const ended = Date.now();
        this.ran.push({ ...job, n, at, started, ended, agent: id, loaded });
        Object.assign(agent, { state: "idle", ref: null });
        this.#server.changed({ took: [], done: [{ ref, seconds: (ended - started) / 1_000 }] }, id);
      },
      job.run_ms + (loaded ? 0 : this.#load_ms),
    );
  }
}

/** Lets time pass until `count` jobs have ended, or throws after `most_ms`. */
export function runUntil(world: World, count: number, most_ms: number): void {
  const end = Date.now() + most_ms;
  while (world.ran.length < count) {
    if (Date.now() >= end) throw new Error(`${world.ran.length} of ${count} jobs ended, ${world.waiting} wait`);
    vi.advanceTimersByTime(1_000);
  }
}
