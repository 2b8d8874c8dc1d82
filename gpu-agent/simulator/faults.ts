/**
 * Owns the fault knobs: what is to go wrong, when, and how often.
 * Invariant: without knobs the simulator is a healthy server; a knob with a count goes out by itself.
 */
import { z } from "zod";

const count = z.number().int().nonnegative();
const ms = z.number().nonnegative().max(3_600_000);
const times = count.default(1);

/** Where in the life of a prompt the process dies. `now` needs no prompt. */
export const CRASH_POINTS = [
  "now",
  "submit",
  "dequeue",
  "start",
  "node",
  "step",
  "save",
  "success",
  "history",
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

/** Every knob is off when absent. docs/simulator.md explains each in a line. */
export const faultsSchema = z.strictObject({
  stepMs: ms.optional(),
  loadMs: ms.optional(),
  nodeMs: z.record(z.string(), ms).optional(),
  crash: z
    .strictObject({
      at: z.enum(CRASH_POINTS),
      skip: count.default(0),
      downMs: ms.default(0),
      exit: z.boolean().default(false),
    })
    .optional(),
  zombie: z.enum(["run", "dequeue"]).optional(),
  hang: z.string().optional(),
  outOfMemory: z.strictObject({ kind: z.enum(["type", "text"]).default("type"), times }).optional(),
  failNode: z
    .strictObject({ class: z.string(), type: z.string().default("RuntimeError"), message: z.string(), times })
    .optional(),
  poison: count.optional(),
  block: z.strictObject({ class: z.string(), message: z.string() }).optional(),
  loseInterrupts: count.optional(),
  ignoreInterruptsMs: ms.optional(),
  dequeueMs: ms.optional(),
  lateHistoryMs: ms.optional(),
  submit500: count.optional(),
  submitReset: count.optional(),
  submitMs: ms.optional(),
  rejectNodes: z.array(z.string()).optional(),
  routes: z
    .array(
      z.strictObject({
        path: z.string(),
        method: z.string().optional(),
        answer: z.union([z.number().int().min(400).max(599), z.literal("hang"), z.literal("reset")]),
        share: z.number().gt(0).max(1).default(1),
      }),
    )
    .optional(),
  loseFramesAfter: count.optional(),
  cutAfterFrames: count.optional(),
  stalled: z.boolean().optional(),
  forgetNewerSocket: z.boolean().optional(),
  noise: z.boolean().optional(),
  binaryNoise: z.boolean().optional(),
  progressText: z.string().optional(),
  corruptOutputs: count.optional(),
  vanishOutputs: count.optional(),
  diskFull: z.boolean().optional(),
  outputBytes: count.max(1_000_000_000).optional(),
  outputCopies: count.min(1).max(1000).optional(),
  previewBytes: count.max(50_000_000).optional(),
});
export type FaultPlan = z.infer<typeof faultsSchema>;
export type RouteFault = NonNullable<FaultPlan["routes"]>[number];
type CountKnob = { [K in keyof FaultPlan]-?: NonNullable<FaultPlan[K]> extends number ? K : never }[keyof FaultPlan];

export class Faults {
  plan: FaultPlan = {};
  /** Interrupts are ignored until then, in ms of the monotonic clock. */
  private deafUntil = 0;
  private framesSent = 0;
  private readonly shares = new Map<string, number>();
  private readonly listeners = new Set<() => void>();

  /** Adds knobs; null turns one off. Throws ZodError for what is no knob. */
  set(given: Readonly<Record<string, unknown>>): FaultPlan {
    const plan: Record<string, unknown> = { ...this.plan };
    for (const [knob, value] of Object.entries(given)) {
      if (value === null || value === undefined) delete plan[knob];
      else plan[knob] = value;
    }
    this.plan = faultsSchema.parse(plan);
    if (given.ignoreInterruptsMs !== undefined)
      this.deafUntil = performance.now() + (this.plan.ignoreInterruptsMs ?? 0);
    if (given.loseFramesAfter !== undefined || given.cutAfterFrames !== undefined) this.framesSent = 0;
    for (const listener of this.listeners) listener();
    return this.plan;
  }

  reset(): void {
    this.plan = {};
    this.deafUntil = 0;
    for (const listener of this.listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** True, and one less, while a counted knob is on. */
  take(knob: CountKnob): boolean {
    const left = this.plan[knob] ?? 0;
    if (left <= 0) return false;
    this.plan = { ...this.plan, [knob]: left - 1 };
    return true;
  }

  /** True, and one less, while a knob with `times` is on. */
  takeTimes(knob: "outOfMemory" | "failNode"): boolean {
    const setting = this.plan[knob];
    if (setting === undefined || setting.times <= 0) return false;
    this.plan = { ...this.plan, [knob]: { ...setting, times: setting.times - 1 } };
    return true;
  }

  /** The crash to happen here, once; `skip` lets that many chances pass. */
  crashAt(point: CrashPoint): FaultPlan["crash"] | null {
    const crash = this.plan.crash;
    if (crash?.at !== point) return null;
    const { crash: _, ...rest } = this.plan;
    this.plan = crash.skip > 0 ? { ...rest, crash: { ...crash, skip: crash.skip - 1 } } : rest;
    return crash.skip > 0 ? null : crash;
  }

  get isDeaf(): boolean {
    return performance.now() < this.deafUntil;
  }

  /** What becomes of the next frame. */
  frame(): "send" | "drop" | "cut" {
    this.framesSent += 1;
    const { loseFramesAfter, cutAfterFrames } = this.plan;
    if (cutAfterFrames !== undefined && this.framesSent > cutAfterFrames) {
      this.set({ cutAfterFrames: null });
      return "cut";
    }
    return loseFramesAfter !== undefined && this.framesSent > loseFramesAfter ? "drop" : "send";
  }

  /** The fault for a call, if it is its turn: a share of 0.25 hits every fourth. */
  route(method: string, path: string): RouteFault | null {
    for (const fault of this.plan.routes ?? []) {
      if (fault.method !== undefined && fault.method !== method) continue;
      if (path !== fault.path && !path.startsWith(`${fault.path}/`)) continue;
      const key = `${fault.method ?? "*"} ${fault.path}`;
      const due = (this.shares.get(key) ?? 0) + fault.share;
      this.shares.set(key, due >= 1 ? due - 1 : due);
      if (due >= 1) return fault;
    }
    return null;
  }
}
