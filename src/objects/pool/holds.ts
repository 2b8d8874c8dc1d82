/**
 * Owns who of the pool gets no new work, by an operator's word.
 * Invariant: the rows decide; a hold whose time is over holds nobody, whether or not anyone looked.
 */
import type { PoolDatabase } from "../../storage/pool/database.ts";
import type { Hold } from "../contract.ts";

/** The row that holds the whole pool. */
const POOL = "*";

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

  /** Of one agent alone. */
  agent(agent: string, now: number): Hold | null {
    return this.#present(agent, now);
  }

  /** What keeps this agent from new work: its own hold, else its pool's. */
  over(agent: string, now: number): Hold | null {
    return this.#present(agent, now) ?? this.#present(POOL, now);
  }

  /** `agent` null: the whole pool. */
  set(agent: string | null, hold: Hold, now: number): void {
    const target = agent ?? POOL;
    this.#database.toWrite().holds.put({ target, kind: hold.kind, until: hold.until, set_at: now });
    this.#known = null;
  }

  clear(agent: string | null): void {
    this.#database.toRead()?.holds.remove(agent ?? POOL);
    this.#known = null;
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
