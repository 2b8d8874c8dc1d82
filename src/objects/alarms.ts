/**
 * Owns an object's one alarm on behalf of many due times.
 * Invariant: the alarm is set only when a due time is earlier than the one set; each set is a row written.
 *
 * The due times themselves live in rows: after an alarm fired, and whenever one is found missing or overdue, the
 * owner hands in the earliest of them again.
 */

/** An alarm this long past its time is taken for lost and set again. */
const OVERDUE_MS = 30_000;

export type Alarms = {
  /** Reads what is set. Call once, before anything else. */
  load(): Promise<void>;
  /** Makes sure that the alarm fires at `at` or earlier; null asks for nothing. Same turn, same commit as the rows. */
  wantBy(at: number | null, now: number): void;
  /** The alarm fired: nothing is set any more. */
  fired(): void;
  /** True when the alarm that should have fired did not. */
  isOverdue(now: number): boolean;
  armedAt(): number | null;
};

export function alarmsOf(storage: DurableObjectStorage): Alarms {
  let armed: number | null = null;
  const set = (at: number) => {
    armed = at;
    // Ordered before the answer by the output gate; a failed write resets the object, so nothing hangs on the promise.
    storage.setAlarm(at).catch(() => undefined);
  };
  return {
    load: async () => {
      armed = await storage.getAlarm();
    },
    wantBy: (at, now) => {
      if (at === null) return;
      // An alarm set to this very millisecond from inside a handler may be lost.
      const time = Math.max(Math.ceil(at), now + 1);
      if (armed !== null && armed <= time && !isLost(armed, now)) return;
      set(time);
    },
    fired: () => {
      armed = null;
    },
    isOverdue: (now) => armed !== null && isLost(armed, now),
    armedAt: () => armed,
  };
}

function isLost(armed: number, now: number): boolean {
  return armed < now - OVERDUE_MS;
}
