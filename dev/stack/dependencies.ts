/**
 * Owns the question whether what the system leans on answers: queue, bucket, directory, ComfyUI.
 * Invariant: a line says what was seen on the wire, after at most five tries; a start never hangs on a dependency and never hides one.
 */
import { AwsClient } from "aws4fetch";
import { z } from "zod";

export type Dependency = { name: string; ok: boolean; detail: string; tries: number };

/** About five seconds in all: what a busy machine takes to bring an agent up. */
const PAUSES_MS = [150, 350, 1_000, 3_500];
const TRY_TIMEOUT_MS = 3_000;

/** Asks until it answers, at most five times. `ask` returns null when all is well, else what was wrong. */
export async function probe(name: string, ask: () => Promise<string | null>): Promise<Dependency> {
  for (let tries = 1; ; tries++) {
    const wrong = await ask().catch(reasonOf);
    if (wrong === null) return { name, ok: true, detail: "", tries };
    const pause = PAUSES_MS[tries - 1];
    if (pause === undefined) return { name, ok: false, detail: wrong, tries };
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** What an operator can act on: `connection refused` rather than `fetch failed`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (code === "ECONNREFUSED") return "connection refused";
  if (error.name === "TimeoutError") return `no answer in ${TRY_TIMEOUT_MS / 1000} s`;
  if (code !== "") return code;
  return cause instanceof Error ? cause.message : error.message;
}

async function expectOk(url: string, init: RequestInit = {}): Promise<string | null> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TRY_TIMEOUT_MS) });
  await response.body?.cancel();
  return response.ok ? null : `answered ${response.status}`;
}

export function probeQueue(vars: Record<string, string>): Promise<Dependency> {
  const headers = { Authorization: `Bearer ${vars.QUEUE_API_TOKEN}` };
  return probe("queue", () => expectOk(`${vars.QUEUE_API_BASE}/jobs-default/metrics`, { headers }));
}

export function probeBucket(vars: Record<string, string>): Promise<Dependency> {
  const client = new AwsClient({
    accessKeyId: vars.R2_ACCESS_KEY_ID ?? "",
    secretAccessKey: vars.R2_SECRET_ACCESS_KEY ?? "",
    service: "s3",
    region: "auto",
    retries: 0,
  });
  const url = `${vars.R2_ENDPOINT}/${vars.R2_BUCKET}?list-type=2&max-keys=1`;
  return probe("bucket", async () => {
    const signed = await client.sign(url);
    return expectOk(signed.url, { headers: Object.fromEntries(signed.headers) });
  });
}

const checkpointsSchema = z.array(z.string());

/** The first checkpoint a ComfyUI lists; null when it has none or does not answer. */
export async function checkpointOf(urls: string): Promise<string | null> {
  const [url] = urls.split(",");
  try {
    const response = await fetch(`${url}/models/checkpoints`, { signal: AbortSignal.timeout(TRY_TIMEOUT_MS) });
    return checkpointsSchema.parse(await response.json())[0] ?? null;
  } catch {
    return null;
  }
}

export function probeComfyui(url: string): Promise<Dependency> {
  return probe("ComfyUI", () => expectOk(`${url}/system_stats`));
}

const healthSchema = z.object({
  agents: z.object({ online: z.number() }),
  checks: z.record(z.string(), z.unknown()),
});

/** The directory as the API Worker itself sees it. */
export function probeDirectory(api: string): Promise<Dependency> {
  return probe("directory", async () => {
    const { checks } = await health(api);
    return isWell(checks.directory) ? null : `the API says ${JSON.stringify(checks.directory)}`;
  });
}

/** `expected` agents online, as their pool sees them. */
export function probeAgents(api: string, expected: number): Promise<Dependency> {
  return probe("agent", async () => {
    const { online } = (await health(api)).agents;
    return online >= expected ? null : `${online} of ${expected} online`;
  });
}

async function health(api: string) {
  const response = await fetch(`${api}/health`, { signal: AbortSignal.timeout(TRY_TIMEOUT_MS) });
  return healthSchema.parse(await response.json());
}

function isWell(check: unknown): boolean {
  return check === true || check === "ok" || check === "healthy";
}
