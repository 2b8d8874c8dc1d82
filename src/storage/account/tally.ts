/**
 * Owns how many jobs of each kind are live, so that admission does not count a hundred thousand rows for each submit.
 * Invariant: a sum over rows and nothing else: made from them at first use, moved with each write, and forgotten whenever
 * a transaction rolled back. No row and no decision of another start ever depends on it.
 */
import { isEnded, type Status } from "../../domain/job-state.ts";

/** What a row counts as. */
export type Counted = {
  readonly status: Status;
  readonly leased: boolean;
  readonly rung: boolean;
  readonly priority: number;
};
export type Totals = {
  /** Not terminal: holds a slot. */
  active: number;
  /** Held by an agent. */
  leased: number;
  /** Rung or leased: takes one of `max_running` places. */
  places: number;
  /** Shown as running. */
  running: number;
  /** Queued above priority 0. */
  raised: number;
};

export type Tally = {
  totals(): Readonly<Totals>;
  /** Null: not there before, or not there any more. */
  moved(was: Counted | null, now: Counted | null): void;
  forget(): void;
};

/** `fromRows` sums the rows as they are. */
export function tallyOf(fromRows: () => Totals): Tally {
  let known: Totals | null = null;
  return {
    totals: () => {
      known ??= fromRows();
      return known;
    },
    moved: (was, now) => {
      if (!known) return;
      if (was) add(known, was, -1);
      if (now) add(known, now, 1);
    },
    forget: () => {
      known = null;
    },
  };
}

function add(totals: Totals, row: Counted, by: 1 | -1): void {
  if (isEnded(row.status)) return;
  totals.active += by;
  if (row.leased) totals.leased += by;
  if (row.leased || (row.status === "queued" && row.rung)) totals.places += by;
  if (row.status === "running" || row.status === "canceling") totals.running += by;
  if (row.status === "queued" && row.priority > 0) totals.raised += by;
}
