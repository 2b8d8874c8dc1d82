/**
 * Owns the agent processes of a pool by their ids, and which of them could take a job: looked at with every message.
 * Invariant: made from what each process told last alone; only those that matter are walked through, whatever the pool's size.
 */
import type { Candidate } from "../../domain/ready-list.ts";
import { idOf, type Present } from "./attachment.ts";
import type { LoadedBy } from "./fleet.ts";
import type { Slot } from "./slot.ts";

export type Known = Present & { readonly id: string };
type Fits = (slot: Slot) => boolean;
type MayWork = (agent: string) => boolean;
/** Null: to be made when it is asked for. */
type Index = Map<string, Candidate | null>;

const isIdle: Fits = ({ state }) => state === "idle";
/** Would claim one job ahead of the end of its present one. */
const takesAhead: Fits = ({ state, ahead, next }) => state === "busy" && ahead && next === null;
const holdsAhead: Fits = ({ next }) => next !== null;

export class Processes {
  readonly #loadedBy: LoadedBy;
  readonly #byId = new Map<string, Known>();
  readonly #idle: Index = new Map();
  readonly #ahead: Index = new Map();
  readonly #holding = new Set<string>();
  /** Process -> slot -> model files it says it has in memory. Lost with the object's memory: a preference, no more. */
  readonly #loaded = new Map<string, Map<number, readonly string[]>>();

  constructor(loadedBy: LoadedBy) {
    this.#loadedBy = loadedBy;
  }

  /** Takes in what a process told; nothing for a socket that has not said hello. */
  set(present: Present): void {
    const id = idOf(present.kept);
    if (id === null) return;
    this.#byId.set(id, { ...present, id });
    const has = (fits: Fits) => present.kept.slots.some(fits);
    for (const [index, fits] of [
      [this.#idle, isIdle],
      [this.#ahead, takesAhead],
    ] as const)
      if (has(fits)) index.set(id, null);
      else index.delete(id);
    if (has(holdsAhead)) this.#holding.add(id);
    else this.#holding.delete(id);
  }

  delete(id: string): void {
    for (const index of [this.#byId, this.#idle, this.#ahead, this.#holding, this.#loaded]) index.delete(id);
  }

  /** Before what else it told is `set`. */
  toldLoaded(id: string, slot: number, names: readonly string[]): void {
    const told = this.#loaded.get(id) ?? new Map<number, readonly string[]>();
    this.#loaded.set(id, told.set(slot, names));
  }

  get(id: string): Known | null {
    return this.#byId.get(id) ?? null;
  }

  all(): Known[] {
    return [...this.#byId.values()];
  }

  /** Those with at least one idle slot; `only`: of this process alone. */
  idle(mayWork: MayWork, only?: string): Candidate[] {
    return this.#candidates(this.#idle, isIdle, mayWork, only);
  }

  /** Those with a slot that would claim one job ahead of the end of its present one. */
  ahead(mayWork: MayWork, only?: string): Candidate[] {
    return this.#candidates(this.#ahead, takesAhead, mayWork, only);
  }

  /** Jobs that wait behind a run, where, and since when (ms UTC). */
  claimedAhead(): { ref: string; agent: string; since: number }[] {
    return [...this.#holding].flatMap((id) =>
      (this.get(id)?.kept.slots ?? []).flatMap(({ next, next_since }) =>
        next === null ? [] : [{ ref: next, agent: id, since: next_since }],
      ),
    );
  }

  #candidates(index: Index, fits: Fits, mayWork: MayWork, only?: string): Candidate[] {
    const ids = only === undefined ? [...index.keys()] : [only];
    return ids.flatMap((id) => {
      const [known, made] = [this.get(id), index.get(id)];
      if (known === null || made === undefined || !mayWork(known.kept.agent)) return [];
      const candidate = made ?? this.#candidate(known, fits);
      index.set(id, candidate);
      return [candidate];
    });
  }

  #candidate({ id, kept }: Known, fits: Fits): Candidate {
    const told = [...(this.#loaded.get(id)?.values() ?? [])].flat();
    const free = kept.slots.filter(fits).length;
    return { id, free, loaded: new Set([...this.#loadedBy(kept.capability_hash), ...told]) };
  }
}
