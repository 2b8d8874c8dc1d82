/**
 * Owns how load is made and how repeated rounds become one figure.
 * Invariant: loads are bounded in time and connections and go to loopback; an answer that is not 2xx spoils the figure.
 */
import autocannon from "autocannon";
import { z } from "zod";

export type Load = {
  url: string;
  method: "GET" | "POST";
  headers: Record<string, string>;
  body?: string;
  connections: number;
  seconds: number;
};

const resultSchema = z.object({
  non2xx: z.number(),
  errors: z.number(),
  requests: z.object({ total: z.number(), sent: z.number() }),
  latency: z.object({ p50: z.number(), p99: z.number() }),
  duration: z.number(),
});
export type LoadResult = { rps: number; p50_ms: number; p99_ms: number; accepted: number };

export async function runLoad(load: Load): Promise<LoadResult> {
  if (!new URL(load.url).hostname.startsWith("127.")) throw new Error("a load goes to loopback only");
  const { url, method, headers, body, connections, seconds } = load;
  const raw: unknown = await autocannon({
    url,
    method,
    headers,
    ...(body === undefined ? {} : { body }),
    connections,
    duration: seconds,
  });
  const result = resultSchema.parse(raw);
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(
      `${method} ${new URL(url).pathname}: ${result.non2xx} answers were not 2xx, ${result.errors} failed`,
    );
  return {
    rps: result.requests.total / result.duration,
    p50_ms: result.latency.p50,
    p99_ms: result.latency.p99,
    accepted: result.requests.total,
  };
}

/** Runs both sides in turn, so that whatever else the machine does meets both. Returns the median of each. */
export async function inTurn<T>(
  rounds: number,
  sides: readonly [() => Promise<T>, () => Promise<T>],
  by: (one: T) => number,
) {
  const seen: [T[], T[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    seen[0].push(await sides[0]());
    seen[1].push(await sides[1]());
  }
  return { ours: median(seen[0].map(by)), bare: median(seen[1].map(by)) };
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** Nearest-rank quantile of at least one value. */
export function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  if (value === undefined) throw new Error("no values to take a quantile of");
  return value;
}
