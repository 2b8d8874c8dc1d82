/**
 * Owns `webhook_lag_*`: from the end of a job, as its row says, to the first byte of its webhook at the target.
 * Invariant: one job at a time, both ends on one machine's clock; a job that no agent takes is cancelled, so nothing but the
 * way of the webhook is measured: commit, queue, consumer, two calls of the account, signature, connection.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { startStack } from "../../dev/stack/stack.ts";
import { keyed, SUBMIT_BODY, submit } from "../client.ts";
import { median, quantile } from "../load.ts";

const JOBS = 100;
const WARM_UP = 5;
const PATIENCE_MS = 10_000;

const bodySchema = z.object({
  data: z.object({ job: z.object({ job_id: z.string(), timestamps: z.object({ finished_at: z.string() }) }) }),
});

/** Arrivals by job: when the request began to come in, and the end it tells of. */
type Target = { url: string; arrived(job: string): Promise<number>; close(): void };

async function startTarget(): Promise<Target> {
  const lags = new Map<string, number>();
  const waiting = new Map<string, (lag: number) => void>();
  const server = createServer(async (request, response) => {
    const at = Date.now();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    response.writeHead(204).end();
    const { job_id, timestamps } = bodySchema.parse(JSON.parse(Buffer.concat(chunks).toString())).data.job;
    const lag = at - Date.parse(timestamps.finished_at);
    lags.set(job_id, lag);
    waiting.get(job_id)?.(lag);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the target has no port");
  return {
    url: `http://127.0.0.1:${address.port}/hook`,
    arrived: (job) =>
      new Promise((resolve, reject) => {
        const known = lags.get(job);
        if (known !== undefined) return resolve(known);
        const late = setTimeout(() => reject(new Error("a webhook did not come")), PATIENCE_MS);
        waiting.set(job, (lag) => {
          clearTimeout(late);
          resolve(lag);
        });
      }),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

export async function measureWebhookLag(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const target = await startTarget();
  const stack = await startStack({
    port: 0,
    dataDir,
    agents: 0,
    comfyuiUrl: null,
    vars: { DEV_TARGETS: new URL(target.url).origin },
  });
  const { direct_url, user_key } = stack.file;
  const body = JSON.stringify({ ...JSON.parse(SUBMIT_BODY), webhook_url: target.url });
  try {
    const lags: number[] = [];
    for (let n = 0; n < WARM_UP + JOBS; n++) {
      const { job_id } = await submit(direct_url, user_key, body);
      await fetch(`${direct_url}/api/v1/jobs/${job_id}`, { method: "DELETE", headers: keyed(user_key) });
      const lag = await target.arrived(job_id);
      if (n >= WARM_UP) lags.push(lag);
    }
    return { webhook_lag_p50_ms: median(lags), webhook_lag_p99_ms: quantile(lags, 0.99) };
  } finally {
    await stack.stop();
    target.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}
