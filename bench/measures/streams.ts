/**
 * Owns what a viewer waits for: `first_event_p99_ms`, from a job's start to its first frame at a viewer, and
 * `progress_p99_over_bare_1000`, from an agent's frame to 1,000 viewers, against a bare fan-out of the same text.
 * Invariant: both ends are read on one clock; both fan-outs run on one runtime and take turns in one run.
 *
 * The start is taken at the agent's claim as it is sent, so the first figure holds the claim's own way in, too.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { startStack } from "../../dev/stack/stack.ts";
import type { StackFile } from "../../dev/stack/stack-file.ts";
import { startBare } from "../bare.ts";
import { asAgent, claim, claimNext, pullRefs, submit } from "../client.ts";
import { inTurn, quantile } from "../load.ts";

const STARTS = 100;
const WARM_UP = 10;
const VIEWERS = 1_000;
const FRAMES = 60;
const EVERY_MS = 100;
const ROUNDS = 5;
/** The role without limits that DESIGN 12 asks for, and leases that outlive the run. */
const VARS = {
  ROLES: JSON.stringify({ internal: { max_active: 1_000_000, max_running: 1_000_000 } }),
  MAX_QUEUED: "1000000",
  FIRST_LEASE_MS: "600000",
  LOG_LEVEL: "warn",
};

export async function measureStreams(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const stack = await startStack({ port: 0, dataDir, agents: 0, vars: VARS });
  const bare = await startBare(dataDir);
  try {
    const starts: number[] = [];
    for (let n = 0; n < WARM_UP + STARTS; n++) {
      const ms = await firstEvent(stack.file);
      if (n >= WARM_UP) starts.push(ms);
    }
    const p99s = await fanOuts(stack.file, bare.url);
    return {
      first_event_p50_ms: quantile(starts, 0.5),
      first_event_p99_ms: quantile(starts, 0.99),
      progress_p99_ms_1000: p99s.ours,
      fan_out_p99_ms_1000: p99s.bare,
      progress_p99_over_bare_1000: p99s.ours / p99s.bare,
    };
  } finally {
    await Promise.all([stack.stop(), bare.stop()]);
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** One job with one viewer: from the claim to the viewer's `running`, ms. */
async function firstEvent(stack: StackFile): Promise<number> {
  const { job_id } = await submit(stack.direct_url, stack.user_key);
  const seen = Promise.withResolvers<number>();
  const socket = await opened(viewerUrl(stack, job_id), viewerHeaders(stack), (text) => {
    if (text.includes('"status":"running"')) seen.resolve(performance.now());
  });
  for (;;) {
    const [ref] = await pullRefs(stack);
    if (ref === undefined) continue;
    const begun = performance.now();
    const grant = await claim(stack, ref);
    if (grant?.job !== job_id) continue;
    const ms = (await seen.promise) - begun;
    socket.terminate();
    return ms;
  }
}

/** p99 of a frame's way to all viewers: ours and bare, the median of the rounds. */
async function fanOuts(stack: StackFile, bareUrl: string): Promise<{ ours: number; bare: number }> {
  const { job_id } = await submit(stack.direct_url, stack.user_key);
  const grant = await claimNext(stack);
  if (grant.job !== job_id) throw new Error("another job was claimed than the one to watch");
  const fan = `${bareUrl.replace("http", "ws")}/bench/fan`;
  const progressUrl = `${stack.direct_url.replace("http", "ws")}${new URL(grant.progress_url, stack.direct_url).pathname}`;
  const agentHeaders = { ...asAgent(stack.agent_token), "X-Lease": grant.lease };
  const ours = new FanOut(await opened(progressUrl, agentHeaders));
  await ours.addViewers(viewerUrl(stack, job_id), viewerHeaders(stack));
  const bare = new FanOut(await opened(`${fan}?role=agent`, {}));
  await bare.addViewers(fan, {});
  try {
    return await inTurn(ROUNDS, [() => ours.round(), () => bare.round()], (p99) => p99);
  } finally {
    ours.close();
    bare.close();
  }
}

/** One sender and its viewers. */
class FanOut {
  readonly #sender: WebSocket;
  readonly #viewers: WebSocket[] = [];
  /** When the frame with that number was sent. */
  readonly #sent = new Map<number, number>();
  #delays: number[] = [];
  #n = 0;

  constructor(sender: WebSocket) {
    this.#sender = sender;
  }

  async addViewers(url: string, headers: Record<string, string>): Promise<void> {
    while (this.#viewers.length < VIEWERS) {
      const some = Array.from({ length: 100 }, () => opened(url, headers, (text) => this.#arrived(text)));
      this.#viewers.push(...(await Promise.all(some)));
    }
  }

  /** p99 in ms; every frame must reach every viewer. */
  async round(): Promise<number> {
    this.#delays = [];
    for (let i = 0; i < FRAMES; i++) {
      this.#n++;
      this.#sent.set(this.#n, performance.now());
      this.#sender.send(frame(this.#n));
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
    for (let tries = 0; this.#delays.length < FRAMES * VIEWERS; tries++) {
      if (tries > 600) throw new Error(`${this.#delays.length} of ${FRAMES * VIEWERS} frames arrived`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return quantile(this.#delays, 0.99);
  }

  close(): void {
    for (const socket of [this.#sender, ...this.#viewers]) socket.terminate();
  }

  #arrived(text: string): void {
    const n = Number(/"current_step":(\d+)/.exec(text)?.[1]);
    const sent = this.#sent.get(n);
    if (sent !== undefined) this.#delays.push(performance.now() - sent);
  }
}

function frame(n: number): string {
  const nodes = { current_node: "3", current_node_type: "KSampler", nodes_done: 2, nodes_total: 7 };
  const progress_detail = { phase: "executing", ...nodes, current_step: n, total_steps: 1_000, message: null };
  return JSON.stringify({ type: "progress", n, ts: Date.now(), progress: n / 1_000, progress_detail });
}

function viewerUrl({ direct_url }: StackFile, job: string): string {
  return `${direct_url.replace("http", "ws")}/ws/jobs/${job}`;
}

function viewerHeaders({ user_key }: StackFile): Record<string, string> {
  return { Authorization: `Bearer ${user_key}` };
}

async function opened(
  url: string,
  headers: Record<string, string>,
  onText: (text: string) => void = () => undefined,
): Promise<WebSocket> {
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  socket.on("message", (data) => onText(String(data)));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return socket;
}
