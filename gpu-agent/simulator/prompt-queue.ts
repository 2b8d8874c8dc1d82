/**
 * Owns the prompts that wait and the one that runs, in ComfyUI's heap with its quirks.
 * Invariant: from `put` until it is taken out, deleted or finished, a prompt is in exactly one of pending and running.
 */
import { type Dumpable, type Json, type JsonMap, PyFloat } from "./python-json.ts";

/** One submit. `number` sorts, lower runs first; a float when the caller chose it. */
export type QueueItem = {
  number: number | PyFloat;
  promptId: string;
  prompt: JsonMap;
  /** With `client_id`, `extra_pnginfo`, and whatever else the caller put there. */
  extraData: Map<string, Json>;
  /** An `extra_data` that is no object, as it came: nobody checks it before it runs. */
  brokenExtra?: Json;
  outputs: string[];
};

function rank(number: number | PyFloat): number {
  return number instanceof PyFloat ? number.value : number;
}

export class PromptQueue {
  private heap: QueueItem[] = [];
  private current: QueueItem | null = null;

  /** Throws TypeError when number and id equal those of a waiting item: Python then compares two dicts. The item stays in, as there. */
  put(item: QueueItem): void {
    this.heap.push(item);
    this.rise(this.heap.length - 1);
  }

  /** The next to run, or null. It counts as running from here to `finish`. */
  take(): QueueItem | null {
    const last = this.heap.pop();
    if (last === undefined) return null;
    const first = this.heap[0];
    if (first === undefined) this.current = last;
    else {
      this.heap[0] = last;
      this.current = first;
      this.sink(0);
    }
    return this.current;
  }

  finish(): void {
    this.current = null;
  }

  get running(): QueueItem | null {
    return this.current;
  }

  /** In heap order, which is not the order of execution. */
  get pending(): readonly QueueItem[] {
    return this.heap;
  }

  /** Waiting and running. */
  get remaining(): number {
    return this.heap.length + (this.current === null ? 0 : 1);
  }

  clear(): void {
    this.heap = [];
  }

  /** Takes out the first waiting item with this id. "last" when none is left, false when there was no such item. */
  remove(promptId: string): boolean | "last" {
    const at = this.heap.findIndex((item) => item.promptId === promptId);
    if (at < 0) return false;
    this.heap.splice(at, 1);
    for (let index = (this.heap.length >> 1) - 1; index >= 0; index--) this.sink(index);
    return this.heap.length === 0 ? "last" : true;
  }

  private at(index: number): QueueItem {
    const item = this.heap[index];
    if (item === undefined) throw new RangeError("no such place in the heap");
    return item;
  }

  private rise(from: number, top = 0): void {
    let index = from;
    const item = this.at(index);
    try {
      while (index > top) {
        const parent = (index - 1) >> 1;
        if (!comesBefore(item, this.at(parent))) break;
        this.heap[index] = this.at(parent);
        index = parent;
      }
    } finally {
      this.heap[index] = item;
    }
  }

  /** As heapq: the hole sinks to a leaf along the smaller children, then the item rises. */
  private sink(top: number): void {
    const item = this.at(top);
    let index = top;
    for (let child = 2 * index + 1; child < this.heap.length; child = 2 * index + 1) {
      const right = child + 1;
      const least = right < this.heap.length && !comesBefore(this.at(child), this.at(right)) ? right : child;
      this.heap[index] = this.at(least);
      index = least;
    }
    this.heap[index] = item;
    this.rise(index, top);
  }
}

function comesBefore(a: QueueItem, b: QueueItem): boolean {
  const difference = rank(a.number) - rank(b.number);
  if (difference !== 0) return difference < 0;
  if (a.promptId !== b.promptId) return a.promptId < b.promptId;
  throw new TypeError("'<' not supported between instances of 'dict' and 'dict'");
}

/** Fields of `extra_data` that history never shows, nor the newer line's queue. */
const SECRETS = ["auth_token_comfy_org", "api_key_comfy_org"];

export function withoutSecrets(extraData: Map<string, Json>): Map<string, Json> {
  return new Map([...extraData].filter(([key]) => !SECRETS.includes(key)));
}

/** The five elements that /queue and /history show. */
export function shownItem({ number, promptId, prompt, extraData, brokenExtra, outputs }: QueueItem): Dumpable {
  return [number, promptId, prompt, brokenExtra === undefined ? extraData : brokenExtra, outputs];
}
