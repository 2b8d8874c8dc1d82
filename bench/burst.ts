/**
 * Owns how many requests are made at once.
 * Invariant: none waits for another; an answer of any other status than those given ends the bench.
 */

/** The milliseconds each took, from its send to its whole body. */
export async function burst(
  count: number,
  request: (n: number) => Promise<Response>,
  statuses: readonly number[],
): Promise<number[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const sent = performance.now();
      const response = await request(n);
      const text = await response.text();
      if (!statuses.includes(response.status))
        throw new Error(`one of ${count} at once was answered ${response.status}: ${text.slice(0, 300)}`);
      return performance.now() - sent;
    }),
  );
}
