/**
 * Owns who of the pool gets no new work, by an operator's word or the agent's own.
 * Invariant: the rows decide; a hold whose time is over holds nobody, whether or not anyone looked.
 */
import type { PoolDatabase } from "../../storage/pool/database.ts";
import type { Hold, StandingHold } from "../contract.ts";

/** The row that holds the whole pool. */
const POOL = "*";
/** The row of an agent's own word. */
const own = (agent: string) => `${agent}/own`;

/** A hold without an end, as a time. */
export const FOREVER = Date.UTC(9999, 11, 31);

export class Holds {
  readonly #database: PoolDatabase;
  #known: Map<string, Hold> | null = null;

  constructor(database: PoolDatabase) {
    this.#database = database;
  }

  /** Of the whole pool. */
  pool(now: number): Hold | null {
    return this.#present(POOL, now);
  }

  /** Of one agent alone, by its operators or by itself: the one that lasts longest. */
  agent(agent: string, now: number): StandingHold | null {
    return longest([this.#standing("operator", agent, now), this.#standing("agent", own(agent), now)]);
  }

  /** What keeps this agent from new work longest: its own holds, and its pool's. */
  over(agent: string, now: number): StandingHold | null {
    return longest([this.agent(agent, now), this.#standing("pool", POOL, now)]);
  }

  /** `agent` null: the whole pool. `isOwn`: by the agent's own word. */
  set(agent: string | null, hold: Hold, now: number, isOwn = false): void {
    const target = agent === null ? POOL : isOwn ? own(agent) : agent;
    this.#database.toWrite().holds.put({ target, kind: hold.kind, until: hold.until, set_at: now });
    this.#known = null;
  }

  /** Operators end an agent's own hold too; the agent ends its own alone. */
  clear(agent: string | null, isOwn = false): void {
    const tables = this.#database.toRead();
    if (!isOwn) tables?.holds.remove(agent ?? POOL);
    if (agent !== null) tables?.holds.remove(own(agent));
    this.#known = null;
  }

  #standing(by: StandingHold["by"], target: string, now: number): StandingHold | null {
    const hold = this.#present(target, now);
    return hold && { ...hold, by };
  }

  #present(target: string, now: number): Hold | null {
    this.#known ??= new Map(
      (this.#database.toRead()?.holds.all() ?? []).map((row) => [
        row.target,
        { kind: row.kind === "drain" ? "drain" : "pause", until: row.until },
      ]),
    );
    const hold = this.#known.get(target);
    return hold && (hold.until === null || hold.until > now) ? hold : null;
  }
}

/** Of two that last as long, the one named first. */
function longest(holds: readonly (StandingHold | null)[]): StandingHold | null {
  const end = (hold: StandingHold) => hold.until ?? FOREVER;
  return holds.reduce((best, hold) => (hold && (!best || end(hold) > end(best)) ? hold : best), null);
}
