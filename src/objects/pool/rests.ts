/**
 * Owns which agents rest because they lost leases (DESIGN 4): two within 5 minutes, until their next clean canary.
 * Invariant: kept in memory, a hint; a rest ends by itself, so that an agent that cannot hear of it is not lost for ever.
 *
 * The agent is told (`rest`), shows its slots as `preparing` while it proves ComfyUI, and as `idle` when that run was clean.
 */
const WINDOW_MS = 300_000;
/** An agent of an older version proves nothing when it is told: it rests this long. */
const LONGEST_REST_MS = 600_000;
const LOST_LEASES = 2;

export class Rests {
  readonly #lostAt = new Map<string, number[]>();
  /** Agent -> when its rest ends at the latest, and whether it has begun to prove its ComfyUI. */
  readonly #resting = new Map<string, { until: number; proving: boolean }>();

  /** True when the agent is to rest from now on. `before`: when it lost one before, as the rows say; counts where none is remembered. */
  leaseLost(agent: string, before: number | null, now: number): boolean {
    const known = this.#lostAt.get(agent) ?? (before === null ? [] : [before]);
    const recent = [...known, now].filter((at) => at > now - WINDOW_MS);
    this.#lostAt.set(agent, recent);
    if (recent.length < LOST_LEASES) return false;
    this.#lostAt.set(agent, []);
    this.#resting.set(agent, { until: now + LONGEST_REST_MS, proving: false });
    return true;
  }

  /** A slot of the agent says what it does, or still does: idle after preparing is a clean canary. */
  reported(agent: string, state: string): void {
    const rest = this.#resting.get(agent);
    if (!rest) return;
    if (state === "preparing" || state === "sick") rest.proving = true;
    else if (state === "idle" && rest.proving) this.#resting.delete(agent);
  }

  /** It says hello: true when it is to rest, which it may not have heard. */
  came(agent: string, slots: readonly { state: string }[], now: number): boolean {
    for (const { state } of slots) this.reported(agent, state);
    return this.rests(agent, now);
  }

  rests(agent: string, now: number): boolean {
    const rest = this.#resting.get(agent);
    if (rest && rest.until <= now) this.#resting.delete(agent);
    return this.#resting.has(agent);
  }
}
