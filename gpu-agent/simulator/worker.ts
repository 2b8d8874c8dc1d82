/**
 * Owns the one worker: takes prompts one by one, writes history, frees memory.
 * Invariant: history holds a prompt in the same turn in which the queue lets go of it, before anyone is told that it ended.
 */
import { Execution, type RunReport } from "./executor.ts";
import type { HistoryEntry } from "./history.ts";
import type { Machine } from "./machine.ts";
import type { QueueItem } from "./prompt-queue.ts";
import type { Dumpable, Json } from "./python-json.ts";

export async function work(machine: Machine): Promise<void> {
  while (!machine.isStopped) {
    const item = machine.queue.take();
    if (item === null) {
      freeMemory(machine);
      await machine.somethingToDo();
      // The submit's answer is on its way first, as it usually is with a worker in another thread.
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    await runItem(machine, item);
  }
}

async function runItem(machine: Machine, item: QueueItem): Promise<void> {
  machine.sendStatus();
  machine.timeline.note("start", item.promptId);
  const report = await new Execution(machine, item).run();
  if (machine.isStopped) return;
  machine.queue.finish();
  machine.history.add(item.promptId, entryOf(item, report));
  machine.timeline.note("end", item.promptId);
  machine.sendStatus();
  if (machine.clientId !== null) machine.send("executing", { node: null, prompt_id: item.promptId }, machine.clientId);
  freeMemory(machine);
}

/** What /free asked for: done between prompts. */
function freeMemory(machine: Machine): void {
  const { unloadModels, freeMemory: dropCaches } = machine.free;
  machine.free = { unloadModels: false, freeMemory: false };
  if (unloadModels || dropCaches) machine.loadedModel = null;
  if (dropCaches) machine.cache.clear();
}

/** Fields of `extra_data` that never reach history. */
const SECRETS = ["auth_token_comfy_org", "api_key_comfy_org"];

function entryOf(item: QueueItem, report: RunReport): HistoryEntry {
  const kept = new Map<string, Json>([...item.extraData].filter(([key]) => !SECRETS.includes(key)));
  const prompt: Dumpable = [item.number, item.promptId, item.prompt, kept, item.outputs];
  return {
    prompt,
    outputs: report.outputs,
    status: {
      status_str: report.success ? "success" : "error",
      completed: report.success,
      messages: report.messages,
    },
    meta: report.meta,
  };
}
