/**
 * Owns how a battery speaks HTTP: one key, fixed headers, JSON in and out, polling that a slow or limited service can bear.
 * Invariant: asks no more often than a service that says 429 allows.
 */

export type Reply = { status: number; headers: Headers; body: Record<string, unknown>; text: string; ms: number };
type Sent = { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal };

export type Caller = (method: string, path: string, sent?: Sent) => Promise<Reply>;

/** `headers` go with every request; a body that is a string is sent as it is. */
export function caller(url: string, headers: Record<string, string>): Caller {
  return async (method, path, sent = {}) => {
    const startedMs = performance.now();
    const text = typeof sent.body === "string" ? sent.body : JSON.stringify(sent.body);
    const json: Record<string, string> = sent.body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(path.startsWith("http") ? path : url + path, {
      method,
      headers: { ...headers, ...json, ...sent.headers },
      ...(sent.body === undefined ? {} : { body: text }),
      ...(sent.signal === undefined ? {} : { signal: sent.signal }),
    });
    const answered = await response.text();
    const isJson = response.headers.get("Content-Type")?.includes("json") ?? false;
    const body: Record<string, unknown> = isJson ? JSON.parse(answered) : {};
    return {
      status: response.status,
      headers: response.headers,
      body,
      text: answered,
      ms: performance.now() - startedMs,
    };
  };
}

const FIRST_PAUSE_MS = 40;
const LONGEST_PAUSE_MS = 2_000;

/** Reads the job with growing pauses until `isThere`; fails after `timeoutMs`, naming the last status. */
export async function pollJob(
  call: Caller,
  path: string,
  isThere: (job: Record<string, unknown>) => boolean,
  timeoutMs = 90_000,
): Promise<Record<string, unknown>> {
  const endMs = performance.now() + timeoutMs;
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    const { status, headers, body } = await call("GET", path);
    if (status === 200 && isThere(body)) return body;
    if (status !== 200 && status !== 429) throw new Error(`GET ${path} answered ${status}`);
    if (performance.now() > endMs) throw new Error(`${path} is still ${String(body.status)} after ${timeoutMs} ms`);
    const waitMs = status === 429 ? Number(headers.get("Retry-After") ?? 1) * 1000 : pauseMs;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.3);
  }
}
