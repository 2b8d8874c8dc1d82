/**
 * Owns the lines a server would print, and who listens to them.
 * Invariant: the last 300 lines are kept; a listener hears each line once, in order.
 */
import type { Dumpable } from "./python-json.ts";

const KEPT = 300;
type Entry = { t: string; m: string };

export class ServerLog {
  private entries: Entry[] = [];
  private readonly listeners = new Set<string>();
  private isSizeKnown = false;
  private readonly send: (clientId: string, data: { [key: string]: Dumpable }) => void;

  constructor(send: (clientId: string, data: { [key: string]: Dumpable }) => void) {
    this.send = send;
  }

  line(text: string): void {
    // Python's isoformat: microseconds, no zone.
    const entry = { t: new Date().toISOString().replace("Z", "000"), m: `${text}\n` };
    this.entries = [...this.entries, entry].slice(-KEPT);
    const size = this.isSizeKnown ? null : { cols: 80, rows: 24 };
    if (this.listeners.size > 0) this.isSizeKnown = true;
    for (const clientId of this.listeners) this.send(clientId, { entries: [entry], size });
  }

  subscribe(clientId: string, wants: boolean): void {
    if (wants) this.listeners.add(clientId);
    else this.listeners.delete(clientId);
  }

  text(): string {
    return this.entries.map(({ t, m }) => `${t} - ${m}`).join("");
  }

  raw(): Dumpable {
    return { entries: this.entries, size: { cols: 80, rows: 24 } };
  }
}
