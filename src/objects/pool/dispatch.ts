/**
 * Owns how ready jobs reach agents: offers at once to who is idle, ahead to who soon will be, the next agent after 1 s of
 * silence.
 * Invariant: everything here is a hint kept in memory; while the list is not empty, or a job waits behind a run that an idle
 * agent could have, a timer keeps the object awake, no longer.
 */
import type { Charge } from "../../domain/fair-turns.ts";
import { ReadyList } from "../../domain/ready-list.ts";
import { count } from "../../platform/metrics.ts";
import { parseRef } from "../../protocol/ids.ts";
import type { Offer } from "../contract.ts";
import type { Fleet, Gone } from "./fleet.ts";
import type { SlotChange } from "./slot.ts";

/** The longest the object sleeps between two looks at a list that is not empty. */
const LONGEST_WAIT_MS = 10_000;
/** A job claimed ahead that has waited so long behind a run is worth handing over. */
const ASK_BACK_MS = 1_000;
/** Refs remembered as sent, or as taken: enough for the 10 minutes a doorbell may lag behind. */
const MAX_REMEMBERED = 5_000;

export class Dispatch {
  readonly #presence: Fleet;
  readonly #list = new ReadyList();
  /** Ref -> to which agent process it was offered last, and the weight of its account. */
  readonly #sent = new Map<string, { agent: string; weight: number }>();
  /** Refs that an agent took, the latest. */
  readonly #taken = new Map<string, true>();
  /** Ref -> what its account was charged, while a slot has it. */
  readonly #charges = new Map<string, Charge>();
  /** Jobs that an agent was asked to give back. */
  readonly #askedBack = new Map<string, true>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** When everybody is to be looked at again, ms UTC; null: nothing is open. */
  #lookAt: number | null = null;

  constructor(presence: Fleet) {
    this.#presence = presence;
  }

  get ready(): number {
    return this.#list.size;
  }

  add(offers: readonly Offer[]): void {
    const now = Date.now();
    for (const offer of offers) if (!this.isTaken(offer.ref)) this.#list.add(offer, now);
    this.run();
  }

  withdraw(refs: readonly string[]): void {
    for (const ref of refs) this.#list.withdraw(ref);
    this.#arm(this.#lookAt);
  }

  /** True when an agent is known to run or to have run it. */
  isTaken(ref: string): boolean {
    return this.#taken.has(ref) || this.#presence.runs(ref);
  }

  declined(ref: string, agent: string): void {
    count("comfy_edge_offers_total", { outcome: "declined" });
    const able = [...this.#presence.candidates(), ...this.#presence.aheadCandidates()];
    const busy = !able.some(({ id }) => id === agent);
    if (busy) this.#list.missed(ref, agent);
    else this.#list.refused(ref, agent, Date.now());
    this.run();
  }

  /** A process of an agent said hello: it may be new, or have what it had not. */
  came(agent: string): void {
    this.#list.anew(agent);
    this.run();
  }

  /** A slot took up a job, is done with one, or became idle. */
  changed({ took, done }: SlotChange, agent: string): void {
    // What another was offered is gone: that one may take something else.
    const isOthers = took.some((ref) => (this.#list.offeredTo(ref) ?? agent) !== agent);
    for (const { ref, seconds } of done) this.#finish(ref, seconds);
    for (const ref of took) this.#take(ref, agent);
    // Nobody else became free, and whoever was free before has been offered what there was.
    this.run(isOthers ? undefined : agent);
  }

  /** What it ran is over as far as the pool can see; whether it is, its lease decides. */
  gone({ id, slots }: Gone): void {
    const now = Date.now();
    for (const { ref, since, next } of slots) {
      if (ref !== null) this.#finish(ref, Math.max(0, now - since) / 1000);
      if (next !== null) this.#finish(next, 0);
    }
    this.#list.gone(id);
    this.run();
  }

  /** Offers until no idle agent may take any job that is left. `only`: no other agent than this has become free since. */
  run(only?: string): void {
    const now = Date.now();
    // News of one agent may come before the timer does, and must not put off what all are looked at for.
    const later = only === undefined || this.#lookAt === null || this.#lookAt <= now ? null : this.#lookAt;
    const lay = this.#list.sweep(now).length;
    if (lay > 0) count("comfy_edge_offers_total", { outcome: "unanswered" }, lay);
    const give = this.#giver(now, lay > 0 || later === null ? undefined : only);
    for (let given = give(); given !== null; given = give()) {
      const { ref, agent, ahead } = given;
      if (this.#presence.send(agent, { type: "offer", ref, ahead })) {
        count("comfy_edge_offers_total", { outcome: "sent" });
      } else this.#list.refused(ref, agent, now);
    }
    this.#askBack(now);
    this.#arm(later);
  }

  /** To an idle agent; when none of them may take it, ahead to one whose present job should end soon. */
  #giver(now: number, only?: string) {
    // Who is idle changes with what agents say, not with what they are told: asked once for any number of offers.
    const none = this.#list.size === 0;
    const idle = none ? [] : this.#presence.candidates(only);
    const busy = none ? [] : this.#presence.aheadCandidates(only);
    return () => {
      const toIdle = this.#list.give(idle, now);
      const given = toIdle ?? this.#list.give(busy, now);
      if (given === null) return null;
      remember(this.#sent, given.ref, { agent: given.agent, weight: given.weight });
      return { ...given, ahead: toIdle === null };
    };
  }

  /** A job that waits behind a run while another agent is idle goes to that one. Each is asked back once: the idle one may not be able to run it. */
  #askBack(now: number): void {
    for (const { ref, agent, due } of this.#handable()) {
      if (due > now) continue;
      remember(this.#askedBack, jobOf(ref), true);
      this.#presence.send(agent, { type: "give_back", ref });
    }
  }

  /** What was claimed ahead, was not asked back yet and could be another agent's at once; `due`: when to ask, ms UTC. */
  #handable(): { ref: string; agent: string; due: number }[] {
    const waiting = this.#presence.claimedAhead();
    const open = waiting.filter(({ ref }) => !this.#askedBack.has(jobOf(ref)));
    // While jobs are left in the list, who is idle is offered those.
    if (open.length === 0 || this.#list.size > 0) return [];
    const idle = this.#presence.candidates();
    return open
      .filter(({ agent }) => idle.some(({ id }) => id !== agent))
      .map(({ ref, agent, since }) => ({ ref, agent, due: since + ASK_BACK_MS }));
  }

  #take(ref: string, agent: string): void {
    const account = parseRef(ref)?.fields.account;
    const sent = this.#sent.get(ref);
    this.#sent.delete(ref);
    if (account === undefined) return;
    count("comfy_edge_starts_total", { by: sent?.agent === agent ? "offer" : "doorbell" });
    const charge = this.#list.taken(ref) ?? this.#list.began(account, sent?.weight ?? 1);
    this.#charges.set(ref, charge);
    remember(this.#taken, ref, true);
  }

  #finish(ref: string, seconds: number): void {
    const charge = this.#charges.get(ref);
    if (charge) this.#list.finished(charge, seconds);
    this.#charges.delete(ref);
    remember(this.#taken, ref, true);
  }

  /** `later`: a look at everybody that is still to come; null: that was now. */
  #arm(later: number | null): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#lookAt = null;
    const now = Date.now();
    const looks = this.#handable().map(({ due }) => due);
    const look = this.#list.nextLook(now);
    if (look !== null) looks.push(look);
    if (looks.length === 0) return;
    if (later !== null) looks.push(later);
    const wait = Math.min(LONGEST_WAIT_MS, Math.max(0, Math.min(...looks) - now));
    this.#lookAt = now + wait;
    this.#timer = setTimeout(() => this.run(), wait);
  }
}

/** What names a job in all its attempts. */
function jobOf(ref: string): string {
  const fields = parseRef(ref)?.fields;
  return fields ? `${fields.account}/${fields.job}` : ref;
}

/** The oldest entry goes when there are too many. */
function remember<V>(map: Map<string, V>, name: string, value: V): void {
  map.delete(name);
  map.set(name, value);
  if (map.size > MAX_REMEMBERED) for (const oldest of map.keys()) if (map.delete(oldest)) break;
}
