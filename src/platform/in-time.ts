/**
 * Owns how long something outside may hold up what comes after it.
 * Invariant: what is late is not stopped: it goes on by itself, and whoever began it keeps the object for it.
 */

/** What `work` comes to, or null once `ms` have passed. Rejects as it does, while it is waited for. */
export async function inTime<T>(work: Promise<T>, ms: number): Promise<T | null> {
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), ms);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** The same where null is an answer too: rejects once `ms` have passed. */
export async function inTimeOrThrow<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("no answer in time")), ms);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
