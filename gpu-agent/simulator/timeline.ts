/**
 * Owns the record of what reached the simulator and when, for tests and benches.
 * Invariant: at most 20,000 entries, newest last; times are milliseconds since the epoch with fractions.
 */
export type Moment = { at: number; what: string; prompt_id: string | null };

const LIMIT = 20_000;

export class Timeline {
  private moments: Moment[] = [];
  private readonly listeners = new Set<(moment: Moment) => void>();

  note(what: string, promptId: string | null = null): void {
    const moment = { at: performance.timeOrigin + performance.now(), what, prompt_id: promptId };
    this.moments.push(moment);
    if (this.moments.length > LIMIT) this.moments = this.moments.slice(-LIMIT / 2);
    for (const listener of this.listeners) listener(moment);
  }

  since(at: number): Moment[] {
    return this.moments.filter((moment) => moment.at > at);
  }

  listen(listener: (moment: Moment) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
