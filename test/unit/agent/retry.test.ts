/** How calls are repeated, and what is left behind by that. */
import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { CallFailed } from "../../../gpu-agent/http-origin.ts";
import { retrying, TryAgain } from "../../../gpu-agent/retry.ts";

const PLAN = { attempts: 3, first_ms: 1, max_ms: 2 };

it("A call leaves nothing on a signal that lives as long as the agent", async () => {
  const { signal } = new AbortController();
  for (let n = 0; n < 20; n++) await retrying(async () => n, PLAN, signal);
  await retrying(() => Promise.reject(new TryAgain(503, "x")), PLAN, signal).catch(() => undefined);
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

it("A pause between two tries ends with its signal, at once and for good", async () => {
  const stop = new AbortController();
  let tries = 0;
  const failing = () => {
    tries++;
    setTimeout(() => stop.abort(), 5);
    return Promise.reject(new TryAgain(503, "x"));
  };
  const ended = retrying(failing, { attempts: 5, first_ms: 30_000, max_ms: 30_000 }, stop.signal);
  await expect(ended).rejects.toEqual(new CallFailed("aborted", "retry"));
  expect([tries, getEventListeners(stop.signal, "abort").length]).toEqual([1, 0]);
  await expect(retrying(failing, PLAN, stop.signal)).rejects.toThrow("aborted");
});
