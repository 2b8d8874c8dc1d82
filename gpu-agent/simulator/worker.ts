/**
 * Owns the one worker: takes prompts one by one, writes history, frees memory.
 * Invariant: history holds a prompt in the same turn in which the queue lets go of it, before anyone is told that it ended.
 */
import { Execution, type RunReport } from "./executor.ts";
import type { HistoryEntry } from "./history.ts";
import { Dead, type Machine } from "./machine.ts";
import type { QueueItem } from "./prompt-queue.ts";
import { withoutSecrets } from "./prompt-queue.ts";
import type { Json } from "./python-json.ts";
import { busy } from "./run-context.ts";

/** Runs until the machine stops, or until a knob kills the worker alone. */
export async function work(machine: Machine): Promise<void> {
  try {
    while (!machine.isStopped) {
      const isWaiting = machine.queue.pending.length > 0;
      if (isWaiting && dies(machine, "dequeue")) return;
      const item = machine.queue.take();
      if (item !== null) {
        if (!(await runItem(machine, item))) return;
        continue;
      }
      freeMemory(machine);
      await machine.somethingToDo();
      // The submit's answer is on its way first, as it usually is with a worker in another thread.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    if (!(error instanceof Dead)) throw error;
  }
}

function dies(machine: Machine, where: "run" | "dequeue", item?: QueueItem): boolean {
  const chokes = item?.brokenExtra !== undefined && !isIterable(item.brokenExtra);
  if (machine.faults.plan.zombie !== where && !chokes) return false;
  machine.faults.set({ zombie: null });
  machine.log.line("Exception in thread prompt_worker:");
  machine.timeline.note("worker died");
  return true;
}

/** What Python can look for a key in without raising. */
function isIterable(value: Json): boolean {
  return typeof value === "string" || Array.isArray(value);
}

/** False when the worker died over it: the prompt then runs for ever. */
async function runItem(machine: Machine, item: QueueItem): Promise<boolean> {
  const startedAt = performance.now();
  machine.sendStatus();
  machine.crashPoint("dequeue");
  if (dies(machine, "run", item)) return false;
  if (machine.faults.plan.dequeueMs !== undefined) await busy(machine, machine.faults.plan.dequeueMs);
  machine.timeline.note("start", item.promptId);
  machine.crashPoint("start");
  const report = await new Execution(machine, item).run();
  machine.crashPoint("success");
  if (machine.faults.plan.lateHistoryMs !== undefined) await busy(machine, machine.faults.plan.lateHistoryMs);
  machine.queue.finish();
  machine.history.add(item.promptId, entryOf(item, report));
  machine.timeline.note("end", item.promptId);
  machine.crashPoint("history");
  machine.sendStatus();
  if (machine.clientId !== null) machine.send("executing", { node: null, prompt_id: item.promptId }, machine.clientId);
  machine.log.line(`Prompt executed in ${((performance.now() - startedAt) / 1000).toFixed(2)} seconds`);
  freeMemory(machine);
  return true;
}

/** What /free asked for: done between prompts. */
function freeMemory(machine: Machine): void {
  const { unloadModels, freeMemory: dropCaches } = machine.free;
  machine.free = { unloadModels: false, freeMemory: false };
  if (unloadModels || dropCaches) machine.loadedModel = null;
  if (dropCaches) machine.cache.clear();
}

function entryOf(item: QueueItem, report: RunReport): HistoryEntry {
  return {
    item: { ...item, extraData: withoutSecrets(item.extraData) },
    outputs: report.outputs,
    status: {
      status_str: report.success ? "success" : "error",
      completed: report.success,
      messages: report.messages,
    },
    meta: report.meta,
  };
}
