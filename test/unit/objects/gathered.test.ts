/**
 * Owns what is promised of hints that go out together.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { gathered } from "../../../src/objects/account/gathered.ts";
import type { Offer } from "../../../src/objects/contract.ts";
import { accountIdSchema, jobIdSchema, poolNameSchema } from "../../../src/protocol/ids.ts";

const POOL = poolNameSchema.parse("default");
const OTHER = poolNameSchema.parse("other");
const ACCOUNT = accountIdSchema.parse("u000000000000000");

const offer = (n: number): Offer => ({
  ref: `ref-${n}`,
  account: ACCOUNT,
  job: jobIdSchema.parse(`j_00000000000${n}`),
  attempt: 1,
  priority: 0,
  weight: 1,
  models: [],
});

function watched(times: { first_ms: number; window_ms: number }, send: () => Promise<unknown> = async () => undefined) {
  const sent: string[][] = [];
  const all = gathered(
    times,
    (pool, offers) => {
      sent.push([pool, ...offers.map(({ ref }) => ref)]);
      return send();
    },
    (work) => void work,
  );
  return { all, sent };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("A doorbell whose offer was taken before its delay was over does not ring; the others ring once", async () => {
  const { all, sent } = watched({ first_ms: 50, window_ms: 50 });
  all.add(POOL, offer(1));
  all.add(POOL, offer(2));
  all.drop(POOL, offer(1).job, 1);
  await vi.advanceTimersByTimeAsync(49);
  expect(sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent).toEqual([[POOL, "ref-2"]]);
});

it("Of another attempt nothing is dropped, and where all were dropped nothing is sent", async () => {
  const { all, sent } = watched({ first_ms: 50, window_ms: 50 });
  all.add(POOL, offer(1));
  all.drop(POOL, offer(1).job, 2);
  all.add(OTHER, offer(2));
  all.drop(OTHER, offer(2).job, 1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent).toEqual([[POOL, "ref-1"]]);
});

it("Without a delay the first goes at once, and what comes within the window goes together", async () => {
  const { all, sent } = watched({ first_ms: 0, window_ms: 5 });
  all.add(POOL, offer(1));
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual([[POOL, "ref-1"]]);
  all.add(POOL, offer(2));
  all.add(POOL, offer(3));
  await vi.advanceTimersByTimeAsync(5);
  expect(sent).toEqual([
    [POOL, "ref-1"],
    [POOL, "ref-2", "ref-3"],
  ]);
  await vi.advanceTimersByTimeAsync(50);
  all.add(POOL, offer(4));
  await vi.advanceTimersByTimeAsync(0);
  expect(sent.at(-1)).toEqual([POOL, "ref-4"]);
});

it("A pool that hangs holds up what comes after it for 2 s, and another pool not at all", async () => {
  const { all, sent } = watched({ first_ms: 0, window_ms: 5 }, () => new Promise(() => undefined));
  all.add(POOL, offer(1));
  all.add(OTHER, offer(2));
  all.add(POOL, offer(3));
  await vi.advanceTimersByTimeAsync(100);
  expect(sent).toEqual([
    [POOL, "ref-1"],
    [OTHER, "ref-2"],
  ]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(sent.at(-1)).toEqual([POOL, "ref-3"]);
});
