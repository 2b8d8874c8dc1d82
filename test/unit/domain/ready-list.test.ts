/**
 * Owns the guarantees of the ready list: bounded, fair, one agent at a time, nothing forgotten and nothing offered for ever.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Candidate,
  MAX_READY,
  OFFER_ANSWER_MS,
  OVERTAKEN_MS,
  READY_LIFE_MS,
  type Ready,
  ReadyList,
} from "../../../src/domain/ready-list.ts";
import { accountIdSchema, jobIdSchema } from "../../../src/protocol/ids.ts";

const accountOf = (name: string) => accountIdSchema.parse(name.padEnd(16, "0"));
const JOB = jobIdSchema.parse("j_000000000001");

function ready(ref: string, over: Partial<Ready> & { owner?: string } = {}): Ready {
  const { owner = "a", ...rest } = over;
  return { ref, account: accountOf(owner), job: JOB, attempt: 1, priority: 0, weight: 1, models: [], ...rest };
}
const idle = (id: string, free = 1, ...loaded: string[]): Candidate => ({ id, free, loaded: new Set(loaded) });

function listOf(...jobs: Ready[]): ReadyList {
  const list = new ReadyList();
  for (const job of jobs) list.add(job, 0);
  return list;
}

describe("the order of offers", () => {
  it("is higher priority first, then the older job", () => {
    const list = listOf(ready("r1"), ready("r2", { priority: 5 }), ready("r3", { priority: 5 }));
    expect([0, 1, 2].map(() => list.give([idle("x", 3)], 0)?.ref)).toEqual(["r2", "r3", "r1"]);
  });

  it("lets accounts take turns by weight: after any number of jobs of equal length, within one job each", () => {
    const weights = fc.record({ a: fc.integer({ min: 1, max: 5 }), b: fc.integer({ min: 1, max: 5 }) });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 60 }), ({ a, b }, n) => {
        const list = new ReadyList();
        for (let i = 0; i < n; i++)
          for (const [owner, weight] of [
            ["a", a],
            ["b", b],
          ] as const)
            list.add(ready(`${owner}${i}`, { owner, weight }), 0);
        const done = { a: 0, b: 0 };
        for (let i = 0; i < n; i++) {
          const owner = runOne(list, 5).startsWith("a") ? "a" : "b";
          done[owner] += 1;
        }
        expect(Math.abs(done.a / a - done.b / b)).toBeLessThanOrEqual(1 / a + 1 / b + 1e-9);
      }),
    );
  });

  it("evens out GPU seconds, not jobs: who runs long jobs gets fewer of them", () => {
    const list = new ReadyList();
    for (let i = 0; i < 400; i++) for (const owner of ["a", "b"]) list.add(ready(`${owner}${i}`, { owner }), 0);
    const seconds = { a: 0, b: 0 };
    for (let i = 0; i < 300; i++) {
      const given = list.give([idle("x")], 0);
      const charge = given && list.taken(given.ref);
      if (!given || !charge) throw new Error("nothing given");
      const owner = given.ref.startsWith("a") ? "a" : "b";
      const took = owner === "a" ? 20 : 2;
      seconds[owner] += took;
      list.finished(charge, took);
    }
    expect(Math.abs(seconds.a - seconds.b)).toBeLessThanOrEqual(20 + 2);
  });

  it("lets a newcomer wait for one job of each other account at most, however long the others' queues are (I56, F99)", () => {
    const list = new ReadyList();
    for (let i = 0; i < 500; i++) for (const owner of ["a", "b", "c"]) list.add(ready(`${owner}${i}`, { owner }), 0);
    for (let i = 0; i < 100; i++) runOne(list, 5);
    list.add(ready("n0", { owner: "n" }), 1);
    const before: string[] = [];
    for (let ref = runOne(list, 5); ref !== "n0"; ref = runOne(list, 5)) before.push(ref.charAt(0));
    expect(before.length).toBe(new Set(before).size);
  });

  it("moves nobody's turn by a job that went first for its priority: who had less still goes before who had more", () => {
    const list = listOf(ready("a0", { owner: "a", priority: 1 }));
    runOne(list, 300);
    list.add(ready("b0", { owner: "b" }), 0);
    runOne(list, 100);
    for (const owner of ["b", "c"]) list.add(ready(`${owner}1`, { owner }), 0);
    list.add(ready("a1", { owner: "a", priority: 1 }), 0);
    expect([runOne(list, 5), runOne(list, 5), runOne(list, 5)]).toEqual(["a1", "c1", "b1"]);
  });

  it("saves up no turns for who had nothing to run", () => {
    const list = new ReadyList();
    list.add(ready("b0", { owner: "b" }), 0);
    runOne(list, 5);
    for (let i = 0; i < 100; i++) {
      list.add(ready(`a${i}`), 0);
      runOne(list, 5);
    }
    for (let i = 0; i < 10; i++) {
      list.add(ready(`a1${i}`), 0);
      list.add(ready(`b1${i}`, { owner: "b" }), 0);
    }
    const next = Array.from({ length: 10 }, () => runOne(list, 5).charAt(0));
    expect(next.filter((owner) => owner === "b").length).toBeLessThanOrEqual(6);
  });

  /** Gives the next job to an agent that runs it for so long. */
  function runOne(list: ReadyList, seconds: number): string {
    const given = list.give([idle("x")], 0);
    const charge = given && list.taken(given.ref);
    if (!given || !charge) throw new Error("nothing given");
    list.finished(charge, seconds);
    return given.ref;
  }
});

describe("the agent a job is offered to", () => {
  it("is one that has its models loaded, else one that answers, else the one given nothing for longest", () => {
    const list = listOf(ready("r1", { models: ["m"] }), ready("r2"), ready("r3"), ready("r4"));
    expect(list.give([idle("x"), idle("y", 1, "m")], 1)).toMatchObject({ ref: "r1", agent: "y" });
    list.taken("r1");
    expect(list.give([idle("y"), idle("x")], 2)).toMatchObject({ ref: "r2", agent: "x" });
    expect(list.sweep(2 + OFFER_ANSWER_MS)).toMatchObject([{ ref: "r2", agent: "x" }]);
    expect(list.give([idle("x"), idle("y")], 1_100)).toMatchObject({ ref: "r2", agent: "y" });
  });

  it("gets a job that fits its models before one that does not, but passes none by once 2 s have gone since it was first", () => {
    const list = listOf(
      ready("cold", { models: ["m"] }),
      ...[1, 2, 3].map((n) => ready(`warm${n}`, { models: ["w"] })),
    );
    const warm = idle("x", 9, "w");
    expect(list.give([warm], 100)?.ref).toBe("warm1");
    expect(list.give([warm], 100 + OVERTAKEN_MS - 1)?.ref).toBe("warm2");
    expect(list.give([warm], 100 + OVERTAKEN_MS)?.ref).toBe("cold");
    expect(list.give([warm], 100 + OVERTAKEN_MS)?.ref).toBe("warm3");
  });

  it("gets no job of a lower priority for the sake of its models, and never waits for a better one", () => {
    const list = listOf(ready("low", { models: ["w"] }), ready("high", { models: ["m"], priority: 1 }));
    expect(list.give([idle("x", 9, "w")], 0)?.ref).toBe("high");
    expect(list.give([idle("y")], 0)?.ref).toBe("low");
  });

  it("may be asked again at once when it says that it has what it had not", () => {
    const list = listOf(ready("r1"));
    list.refused("r1", "x", 0);
    expect(list.give([idle("x")], 1)).toBeNull();
    list.anew("x");
    expect(list.give([idle("x")], 1)).toMatchObject({ ref: "r1" });
  });

  it("has no more offers open than idle slots", () => {
    const list = listOf(ready("r1"), ready("r2"), ready("r3"));
    expect(list.give([idle("x", 2)], 0)).toMatchObject({ ref: "r1" });
    expect(list.give([idle("x", 2)], 0)).toMatchObject({ ref: "r2" });
    expect(list.give([idle("x", 2)], 0)).toBeNull();
    list.refused("r1", "x", 0);
    expect(list.give([idle("x", 2)], 0)).toMatchObject({ ref: "r3" });
  });

  it("is the next one after a second of silence, or after a refusal, and the same one only later", () => {
    const list = listOf(ready("r1"));
    expect(list.give([idle("x")], 0)).toMatchObject({ agent: "x" });
    expect(list.sweep(OFFER_ANSWER_MS - 1)).toEqual([]);
    expect(list.give([idle("y")], OFFER_ANSWER_MS - 1)).toBeNull();
    expect(list.sweep(OFFER_ANSWER_MS)).toHaveLength(1);
    expect(list.give([idle("x")], OFFER_ANSWER_MS)).toBeNull();
    expect(list.give([idle("y")], OFFER_ANSWER_MS)).toMatchObject({ agent: "y" });
    list.refused("r1", "y", 1_500);
    expect(list.nextLook(1_500)).toBe(2_000);
    expect(list.give([idle("x"), idle("y")], 2_000)).toMatchObject({ agent: "x" });
  });

  it("says once that it does not take a job, however often it says so: the others are offered it all the same", () => {
    const list = listOf(ready("r1"));
    list.give([idle("x")], 0);
    for (let said = 0; said < 20; said++) list.refused("r1", "x", said);
    expect(list.give([idle("x"), idle("y")], 20)).toMatchObject({ ref: "r1", agent: "y" });
    list.refused("r1", "x", 30);
    expect(list.offeredTo("r1")).toBe("y");
  });

  it("may be offered the same job at once when it had merely no slot left", () => {
    const list = listOf(ready("r1"));
    list.give([idle("x")], 0);
    list.missed("r1", "x");
    expect(list.give([idle("x")], 1)).toMatchObject({ ref: "r1", agent: "x" });
  });

  it("is another one when it is gone", () => {
    const list = listOf(ready("r1"));
    list.give([idle("x")], 0);
    list.gone("x");
    expect(list.give([idle("y")], 1)).toMatchObject({ ref: "r1", agent: "y" });
  });
});

describe("the list", () => {
  it("holds 2,000 jobs and takes no more until one leaves", () => {
    const list = new ReadyList();
    for (let i = 0; i < MAX_READY; i++) expect(list.add(ready(`r${i}`), 0)).toBe(true);
    expect(list.add(ready("more"), 0)).toBe(false);
    list.withdraw("r7");
    expect(list.add(ready("more"), 0)).toBe(true);
  });

  it("forgets a job after 10 minutes, and one that nobody takes after ten tries", () => {
    const list = listOf(ready("old"));
    list.sweep(READY_LIFE_MS);
    expect(list.size).toBe(0);
    list.add(ready("bad"), 0);
    for (let i = 0; i < 10; i++) list.refused("bad", `x${i}`, 0);
    expect([list.size, list.nextLook(0)]).toEqual([0, null]);
  });

  it("keeps every job offered at most once at a time through any sequence of events, and each agent within its slots", () => {
    const event = fc.record({
      what: fc.constantFrom("add", "give", "taken", "refused", "missed", "withdraw", "gone", "sweep"),
      ref: fc.integer({ min: 0, max: 8 }),
      agent: fc.constantFrom("x", "y"),
      wait: fc.integer({ min: 0, max: 2_000 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const list = new ReadyList();
        const open = new Map<string, string>();
        let now = 0;
        for (const { what, ref: n, agent, wait } of events) {
          now += wait;
          const ref = `r${n}`;
          if (what === "add") list.add(ready(ref, { owner: n % 2 ? "a" : "b" }), now);
          else if (what === "give") {
            const given = list.give([idle("x", 2), idle("y")], now);
            if (given) {
              expect(open.has(given.ref)).toBe(false);
              open.set(given.ref, given.agent);
            }
          } else if (what === "taken") list.taken(ref);
          else if (what === "refused") list.refused(ref, agent, now);
          else if (what === "missed") list.missed(ref, agent);
          else if (what === "withdraw") list.withdraw(ref);
          else if (what === "gone") list.gone(agent);
          else list.sweep(now);
          for (const known of [...open.keys()]) if (list.offeredTo(known) === null) open.delete(known);
          const of = (id: string) => [...open.values()].filter((a) => a === id).length;
          expect([of("x") <= 2, of("y") <= 1]).toEqual([true, true]);
        }
      }),
    );
  });
});
