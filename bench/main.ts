/**
 * Owns `npm run bench [-- NAME...]`: runs the measures, prints a table, writes `.data/bench.json`.
 * Invariant: the file is one flat object of numbers; a figure not measured in this run keeps its last value.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { measureAddedLatency } from "./measures/added-latency.ts";
import { measureBackToBack } from "./measures/back-to-back.ts";
import { measureBursts } from "./measures/bursts.ts";
import { measureCancelInterrupt } from "./measures/cancel-interrupt.ts";
import { measureControlSockets } from "./measures/control-sockets.ts";
import { measureDispatch } from "./measures/dispatch.ts";
import { measureIdleSockets } from "./measures/idle-sockets.ts";
import { measureLargeOutputs } from "./measures/large-outputs.ts";
import { measureRescue } from "./measures/rescue.ts";
import { measureScale } from "./measures/scale.ts";
import { measureStreams } from "./measures/streams.ts";
import { measureSubmitAndRead } from "./measures/submit-and-read.ts";
import { measureSubmitCrowd } from "./measures/submit-crowd.ts";
import { measureWebhookLag } from "./measures/webhook-lag.ts";

const FILE = ".data/bench.json";

const MEASURES = {
  submit: measureSubmitAndRead,
  crowd: measureSubmitCrowd,
  bursts: measureBursts,
  dispatch: measureDispatch,
  control: measureControlSockets,
  webhooks: measureWebhookLag,
  streams: measureStreams,
  idle: measureIdleSockets,
  added: measureAddedLatency,
  serial: measureBackToBack,
  scale: measureScale,
  cancel: measureCancelInterrupt,
  rescue: measureRescue,
  large: measureLargeOutputs,
} as const;
type Name = keyof typeof MEASURES;

/** Goals of DESIGN 12: met when at least (`min`) or at most (`max`). */
const GOALS: Record<string, { min?: number; max?: number }> = {
  submit_ratio: { min: 0.7 },
  read_ratio: { min: 0.7 },
  submit_p99_over_insert_100: { max: 1.5 },
  // The founding system's own figures for the same bursts.
  health_burst_120_p95_ms: { max: 3_739 },
  list_burst_80_p95_ms: { max: 2_516 },
  dispatch_p50_ms: { max: 12 },
  added_p50_ms_20: { max: 8 },
  added_p99_ms_20: { max: 20 },
  added_image_p50_ms_20: { max: 10 },
  idle_gap_p99_ms: { max: 5 },
  serial_ratio: { min: 0.95 },
  scale_4: { min: 3.6 },
  cancel_interrupt_p99_ms: { max: 30 },
  rescue_p99_ms: { max: 12_000 },
  agent_rss_mb: { max: 140 },
  first_event_p99_ms: { max: 100 },
  progress_p99_over_bare_1000: { max: 1.3 },
  idle_wakeups_per_1000_sockets_min: { max: 0 },
};

const isName = (text: string): text is Name => text in MEASURES;

async function main(): Promise<number> {
  const asked = process.argv.slice(2);
  const unknown = asked.filter((name) => !isName(name));
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(", ")}; there are ${Object.keys(MEASURES).join(", ")}`);
    return 1;
  }
  const names = asked.length > 0 ? asked.filter(isName) : (Object.keys(MEASURES).filter(isName) satisfies Name[]);
  const figures: Record<string, number> = {};
  for (const name of names) {
    console.log(`measuring ${name} …`);
    Object.assign(figures, await MEASURES[name]());
  }
  print(figures);
  save(figures);
  return 0;
}

function print(figures: Record<string, number>): void {
  for (const [key, value] of Object.entries(figures)) {
    const goal = GOALS[key];
    const isMet = goal && value >= (goal.min ?? -Infinity) && value <= (goal.max ?? Infinity);
    const verdict = goal ? `goal ${goal.min ?? goal.max} ${isMet ? "met" : "missed"}` : "";
    console.log(`${key.padEnd(24)} ${value.toFixed(value < 100 ? 2 : 0).padStart(10)}   ${verdict}`);
  }
}

function save(figures: Record<string, number>): void {
  mkdirSync(".data", { recursive: true });
  const all = { ...saved(), ...figures };
  writeFileSync(FILE, `${JSON.stringify(all, null, 2)}\n`);
  console.log(`written to ${FILE}`);
}

function saved(): Record<string, number> {
  try {
    return z.record(z.string(), z.number()).parse(JSON.parse(readFileSync(FILE, "utf8")));
  } catch {
    return {};
  }
}

process.exitCode = await main();
