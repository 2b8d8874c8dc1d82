/**
 * The queue with ComfyUI's order and its quirks.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PromptQueue, type QueueItem } from "../../../gpu-agent/simulator/prompt-queue.ts";
import { PyFloat } from "../../../gpu-agent/simulator/python-json.ts";

function item(number: number, promptId: string): QueueItem {
  const rank = Number.isInteger(number) ? number : new PyFloat(number);
  return { number: rank, promptId, prompt: new Map(), extraData: new Map(), outputs: [] };
}

function drained(queue: PromptQueue): string[] {
  const ids: string[] = [];
  for (let next = queue.take(); next !== null; next = queue.take()) ids.push(next.promptId);
  return ids;
}

describe("the queue", () => {
  it("runs by number, then by id, whatever came in and was taken out in which order", () => {
    const entries = fc.uniqueArray(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.uuid()), {
      maxLength: 40,
      selector: ([, id]) => id,
    });
    fc.assert(
      fc.property(entries, fc.infiniteStream(fc.boolean()), (all, coins) => {
        const queue = new PromptQueue();
        for (const [number, id] of all) queue.put(item(number, id));
        const kept = all.filter(([, id]) => {
          const goes = coins.next().value === true;
          if (goes) queue.remove(id);
          return !goes;
        });
        const expected = kept.sort(([a, x], [b, y]) => a - b || (x < y ? -1 : 1)).map(([, id]) => id);
        expect(drained(queue)).toEqual(expected);
      }),
    );
  });

  it("has a prompt in exactly one of waiting and running until it is finished", () => {
    const queue = new PromptQueue();
    queue.put(item(0, "a"));
    expect([queue.pending.length, queue.running, queue.remaining]).toEqual([1, null, 1]);
    queue.take();
    expect([queue.pending.length, queue.running?.promptId, queue.remaining]).toEqual([0, "a", 1]);
    queue.finish();
    expect([queue.pending.length, queue.running, queue.remaining]).toEqual([0, null, 0]);
  });

  it("raises for an equal number and id, but keeps both", () => {
    const queue = new PromptQueue();
    queue.put(item(1.5, "a"));
    expect(() => queue.put(item(1.5, "a"))).toThrow(TypeError);
    expect(queue.pending).toHaveLength(2);
  });

  it("says whether the one taken out was the last", () => {
    const queue = new PromptQueue();
    queue.put(item(0, "a"));
    queue.put(item(1, "b"));
    expect([queue.remove("x"), queue.remove("b"), queue.remove("a")]).toEqual([false, true, "last"]);
  });
});
