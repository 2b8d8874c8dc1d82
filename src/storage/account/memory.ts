/**
 * Owns what one start of the object remembers of its own rows, so that a request does not read the same row again.
 * Invariant: only this object writes these rows; each write replaces or forgets what it touches, and a transaction that
 * rolled back forgets everything. Nothing here is ever truer than the rows.
 */

export type AccountMemory = {
  /** One value, loaded at first use. */
  cell<V>(): { get(load: () => V): V; set(value: V): void; forget(): void };
  /** Values by key, at most `limit`; when full, all are forgotten. */
  keyed<V>(limit: number): { get(key: string, load: () => V): V; forget(key: string): void };
  /** Calls back whenever everything is to be forgotten. */
  onForget(forget: () => void): void;
  forget(): void;
};

export function newMemory(): AccountMemory {
  const forgetters: (() => void)[] = [];
  return {
    cell: <V>() => {
      let known: { value: V } | null = null;
      const forget = () => {
        known = null;
      };
      forgetters.push(forget);
      return {
        get: (load: () => V) => {
          known ??= { value: load() };
          return known.value;
        },
        set: (value: V) => {
          known = { value };
        },
        forget,
      };
    },
    keyed: <V>(limit: number) => {
      const known = new Map<string, V>();
      forgetters.push(() => known.clear());
      return {
        get: (key: string, load: () => V) => {
          const held = known.get(key);
          if (held !== undefined) return held;
          const value = load();
          if (known.size >= limit) known.clear();
          known.set(key, value);
          return value;
        },
        forget: (key: string) => {
          known.delete(key);
        },
      };
    },
    onForget: (forget) => {
      forgetters.push(forget);
    },
    forget: () => {
      for (const forget of forgetters) forget();
    },
  };
}
