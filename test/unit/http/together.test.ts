/**
 * Owns what is promised of questions that go together.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Together, together } from "../../../src/http/together.ts";

const LIMITS = { in_flight: 2, batch: 3 };

/** A far side whose calls are answered, or fail, when the test says so. */
function farSide(all: Together<number, string>) {
  const calls: { questions: number[]; answer: (answers?: string[]) => void; fail: () => void }[] = [];
  const kept: Promise<unknown>[] = [];
  const ask = (n: number, object = "one") =>
    all.ask(
      object,
      n,
      (questions) =>
        new Promise((resolve, reject) => {
          const answer = (answers = questions.map((q) => `answer ${q}`)) => resolve(answers);
          calls.push({ questions, answer, fail: () => reject(new Error("cut")) });
        }),
      (work) => kept.push(work),
    );
  const asked = () => calls.map(({ questions }) => questions);
  return { ask, asked, calls, kept };
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

describe("questions for one object", () => {
  it("go alone and at once while few are under way", async () => {
    const far = farSide(together(LIMITS));
    const both = Promise.all([far.ask(1), far.ask(2)]);
    expect(far.asked()).toEqual([[1], [2]]);
    for (const { answer } of far.calls) answer();
    expect(await both).toEqual(["answer 1", "answer 2"]);
  });

  it("that come meanwhile go together with the next call, at most as many as a call carries, each with its own answer", async () => {
    const far = farSide(together(LIMITS));
    const all = Promise.all([1, 2, 3, 4, 5, 6, 7].map((n) => far.ask(n)));
    expect(far.asked()).toEqual([[1], [2]]);
    far.calls[0]?.answer();
    await turn();
    expect(far.asked().slice(2)).toEqual([[3, 4, 5]]);
    far.calls[1]?.answer();
    await turn();
    expect(far.asked().slice(3)).toEqual([[6, 7]]);
    far.calls[2]?.answer();
    far.calls[3]?.answer();
    expect(await all).toEqual([1, 2, 3, 4, 5, 6, 7].map((n) => `answer ${n}`));
  });

  it("fail with the call that carried them, and the next ones are asked all the same", async () => {
    const far = farSide(together(LIMITS));
    const all = [1, 2, 3, 4, 5, 6].map((n) => far.ask(n).catch((error: Error) => error.message));
    far.calls[0]?.answer();
    await turn();
    expect(far.asked()[2]).toEqual([3, 4, 5]);
    far.calls[2]?.fail();
    await turn();
    expect(far.asked()[3]).toEqual([6]);
    far.calls[1]?.answer();
    far.calls[3]?.answer();
    expect(await Promise.all(all)).toEqual(["answer 1", "answer 2", "cut", "cut", "cut", "answer 6"]);
  });

  it("fail where another number of answers came back: nobody gets another's", async () => {
    const far = farSide(together(LIMITS));
    const all = [1, 2, 3, 4].map((n) => far.ask(n).catch(() => "failed"));
    far.calls[0]?.answer();
    await turn();
    expect(far.asked()[2]).toEqual([3, 4]);
    far.calls[1]?.answer();
    far.calls[2]?.answer(["one only"]);
    expect(await Promise.all(all)).toEqual(["answer 1", "answer 2", "failed", "failed"]);
  });

  it("leave nothing behind: the next crowd begins anew", async () => {
    const far = farSide(together(LIMITS));
    for (const from of [0, 10]) {
      const begun = far.calls.length;
      const all = Promise.all([1, 2, 3].map((n) => far.ask(from + n)));
      expect(far.asked().slice(begun)).toEqual([[from + 1], [from + 2]]);
      for (const { answer } of far.calls) answer();
      await turn();
      for (const { answer } of far.calls) answer();
      expect(await all).toHaveLength(3);
    }
  });

  it("hold open the request of each asker until its question was answered", async () => {
    const far = farSide(together(LIMITS));
    const all = Promise.all([1, 2, 3].map((n) => far.ask(n)));
    expect(far.kept).toHaveLength(3);
    for (const { answer } of far.calls) answer();
    await turn();
    for (const { answer } of far.calls) answer();
    await all;
    await Promise.all(far.kept);
  });
});

it("Questions for another object do not wait", () => {
  const far = farSide(together(LIMITS));
  for (const n of [1, 2, 3]) void far.ask(n);
  void far.ask(4, "other");
  expect(far.asked()).toEqual([[1], [2], [4]]);
});

describe("a call that is never heard of again", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
  /** Two calls under way that nobody ends, and two questions that wait behind them. */
  const stuck = () => {
    const far = farSide(together(LIMITS));
    for (const n of [1, 2]) void far.ask(n);
    const waiting = [3, 4].map((n) => far.ask(n).catch((error: Error) => error.message));
    return { far, waiting };
  };

  // The runtime cancels a request that has nothing under way and only waits to be told by another.
  it("has a timer under each question that waits, and leaves none behind", async () => {
    const { far, waiting } = stuck();
    expect(vi.getTimerCount()).toBe(waiting.length);
    for (const { answer } of far.calls) answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
    for (const { answer } of far.calls) answer();
    expect(await Promise.all(waiting)).toEqual(["answer 3", "answer 4"]);
  });

  it("holds up nobody for longer than a request may live without its client", async () => {
    const { far, waiting } = stuck();
    await vi.advanceTimersByTimeAsync(29_999);
    expect(far.asked()).toEqual([[1], [2]]);
    await vi.advanceTimersByTimeAsync(1);
    expect(far.asked().slice(2)).toEqual([[3, 4]]);
    far.calls[2]?.answer();
    expect(await Promise.all(waiting)).toEqual(["answer 3", "answer 4"]);
    const next = far.ask(5);
    expect(far.asked().slice(3)).toEqual([[5]]);
    far.calls[3]?.answer();
    expect(await next).toBe("answer 5");
  });

  it("fails for those whose question it carried: none is asked a second time", async () => {
    const { far, waiting } = stuck();
    far.calls[0]?.answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(far.asked().slice(2)).toEqual([[3, 4]]);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await waiting[1]).toMatch(/lost/);
    expect(far.calls).toHaveLength(3);
  });

  it("holds up nobody of those that it had no room for, and fails for all whose questions it carried", async () => {
    const { far, waiting } = stuck();
    const more = [5, 6, 7].map((n) => far.ask(n).catch((error: Error) => error.message));
    far.calls[0]?.answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(far.asked().slice(2)).toEqual([[3, 4, 5]]);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await Promise.all([waiting[1], more[0]])).toEqual([
      expect.stringMatching(/lost/),
      expect.stringMatching(/lost/),
    ]);
    // Whichever of the two looked first.
    expect(
      far
        .asked()
        .slice(3)
        .map((questions) => questions.toSorted()),
    ).toEqual([[6, 7]]);
    far.calls[3]?.answer();
    expect(await Promise.all(more.slice(1))).toEqual(["answer 6", "answer 7"]);
  });

  it("leaves its place to whoever waits as soon as it is given up, however short that one has waited", async () => {
    const far = farSide(together(LIMITS));
    for (const n of [1, 2]) void far.ask(n);
    await vi.advanceTimersByTimeAsync(20_000);
    const late = far.ask(3);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(far.asked().slice(2)).toEqual([[3]]);
    far.calls[2]?.answer();
    expect(await late).toBe("answer 3");
  });

  it("is told from a slow one: nobody who waits long behind calls that are heard of makes one too many", async () => {
    const far = farSide(together(LIMITS));
    const all = Promise.all([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => far.ask(n)));
    for (const round of [0, 2]) {
      await vi.advanceTimersByTimeAsync(20_000);
      expect(far.calls).toHaveLength(round + 2);
      for (const { answer } of far.calls.slice(round)) answer();
    }
    await vi.advanceTimersByTimeAsync(0);
    for (const { answer } of far.calls.slice(4)) answer();
    expect(await all).toHaveLength(10);
  });

  it("is noticed although the request that looks at the clock is cut off with it", async () => {
    const timers = vi.spyOn(globalThis, "setInterval");
    const { far, waiting } = stuck();
    await vi.advanceTimersByTimeAsync(10_000);
    clearInterval(timers.mock.results[0]?.value);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(far.asked().slice(2)).toEqual([[4, 3]]);
    far.calls[2]?.answer();
    expect(await waiting[1]).toBe("answer 4");
  });

  it("is noticed by whoever comes when that request has no look left", async () => {
    const timers = vi.spyOn(globalThis, "setInterval");
    const { far } = stuck();
    await vi.advanceTimersByTimeAsync(29_000);
    const late = far.ask(5);
    for (const { value } of timers.mock.results.slice(0, 2)) clearInterval(value);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(far.asked()[2]).toEqual([5, 3, 4]);
    far.calls[2]?.answer();
    expect(await late).toBe("answer 5");
  });

  it("is given up although the clock was set back", async () => {
    const { far, waiting } = stuck();
    vi.setSystemTime(Date.now() - 3_600_000);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(far.asked().slice(2)).toEqual([[3, 4]]);
    far.calls[2]?.answer();
    expect(await Promise.all(waiting)).toEqual(["answer 3", "answer 4"]);
  });

  it("frees no second place where it does come back in the end", async () => {
    const { far } = stuck();
    await vi.advanceTimersByTimeAsync(30_000);
    for (const n of [5, 6, 7]) void far.ask(n).catch(() => undefined);
    const begun = far.calls.length;
    far.calls[0]?.answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(far.calls).toHaveLength(begun);
  });
});
