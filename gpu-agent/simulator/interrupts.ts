/**
 * Owns stopping prompts: the one global flag, and the newer cancel that looks and acts in one step.
 * Invariant: an interrupt reaches only the prompt that runs at the moment of asking; a waiting one is just taken out.
 */
import type { Machine } from "./machine.ts";

/** Sets the flag for whatever runs, or only if `promptId` runs. The asker never learns whether it acted. */
export function askInterrupt(machine: Machine, promptId: string | null): void {
  if (promptId !== null && machine.queue.running?.promptId !== promptId) return;
  if (!machine.faults.take("loseInterrupts")) machine.interruptAsked = true;
}

/** Takes a waiting prompt out: everybody hears of the shorter queue, twice when it was the last. */
export function dequeue(machine: Machine, promptId: string): boolean {
  const removed = machine.queue.remove(promptId);
  if (removed === "last") machine.sendStatus();
  if (removed !== false) machine.sendStatus();
  return removed !== false;
}

/** True when the prompt was running or waiting. */
export function cancelPrompt(machine: Machine, promptId: string): boolean {
  if (machine.queue.running?.promptId !== promptId) return dequeue(machine, promptId);
  askInterrupt(machine, promptId);
  return true;
}
