/**
 * Holds the pool's dispatcher to DESIGN 2 with a fleet that says what the test wants it to say, on a clock of its own.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Offer } from "../../../src/objects/contract.ts";
import { Dispatch } from "../../../src/objects/pool/dispatch.ts";
import { accountIdSchema, jobIdSchema } from "../../../src/protocol/ids.ts";
import { FakeFleet } from "../../support/dispatch/fleet.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
});
afterEach(() => {
  vi.useRealTimers();
});

let made = 0;
function offer(over: Partial<Offer> = {}): Offer {
  const account = accountIdSchema.parse("a".repeat(16));
  const job = jobIdSchema.parse(`j_${String(++made).padStart(12, "0")}`);
  const ref = `r_${account}_${job.slice(2)}_1_default_${"0".repeat(27)}`;
  return { ref, account, job, attempt: 1, priority: 0, weight: 1, models: [], ...over };
}

describe("a job claimed ahead", () => {
  /** `a` runs and holds `next` behind it; `b` is idle. */
  function behindARun() {
    const fleet = new FakeFleet(["a", "b"]);
    const next = offer();
    Object.assign(fleet.of("a"), { state: "busy", ref: offer().ref, next: { ref: next.ref, since: Date.now() } });
    return { fleet, next, dispatch: new Dispatch(fleet) };
  }
  const asked = (fleet: FakeFleet) => fleet.told.filter(({ message }) => message.type === "give_back");

  it("is asked back once, a second after it was claimed, when another agent is idle", () => {
    const { fleet, next, dispatch } = behindARun();
    dispatch.run();
    vi.advanceTimersByTime(999);
    expect(asked(fleet)).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(asked(fleet)).toEqual([{ agent: "a", message: { type: "give_back", ref: next.ref } }]);
    dispatch.run();
    vi.advanceTimersByTime(60_000);
    expect(asked(fleet)).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is asked back once however often it comes to wait there: the idle agent may be one that cannot run it", () => {
    const { fleet, next, dispatch } = behindARun();
    dispatch.run();
    vi.advanceTimersByTime(1_000);
    fleet.of("a").next = null;
    dispatch.changed({ took: [], done: [{ ref: next.ref, seconds: 0 }] }, "a");
    const again = next.ref.replace("_1_default_", "_2_default_");
    fleet.of("a").next = { ref: again, since: Date.now() };
    dispatch.changed({ took: [again], done: [] }, "a");
    vi.advanceTimersByTime(60_000);
    expect(asked(fleet)).toHaveLength(1);
  });

  it("is not asked back when the only idle agent is the one that holds it", () => {
    const { fleet, dispatch } = behindARun();
    fleet.of("b").state = "busy";
    dispatch.run();
    expect([asked(fleet), vi.getTimerCount()]).toEqual([[], 0]);
  });

  it("keeps no timer running hot while the list holds a job that the idle agent did not take", () => {
    const { fleet, dispatch } = behindARun();
    const declined = offer();
    dispatch.add([declined]);
    dispatch.declined(declined.ref, "b");
    vi.advanceTimersByTime(30_000);
    expect(asked(fleet), "the idle agent has what is in the list to take").toEqual([]);
    const before = fleet.looks;
    for (let turns = 0; turns < 1_000 && vi.getTimerCount() > 0; turns++) vi.runOnlyPendingTimers();
    // A thousand turns of the timer are minutes of waiting, not one moment a thousand times.
    expect(Date.now() - Date.UTC(2030, 0, 1)).toBeGreaterThan(500_000);
    expect(fleet.looks - before).toBeLessThan(1_000);
  });
});

describe("an agent that is offered a job which another takes by its doorbell", () => {
  it("is offered the next one at once", () => {
    const fleet = new FakeFleet(["a", "b"]);
    const [first, second] = [offer(), offer()];
    fleet.of("a").state = "busy";
    const dispatch = new Dispatch(fleet);
    dispatch.add([first, second]);
    Object.assign(fleet.of("a"), { ref: first.ref });
    dispatch.changed({ took: [first.ref], done: [] }, "a");
    const offers = fleet.told.map(({ agent, message }) => [agent, message.type === "offer" && message.ref]);
    expect(offers).toEqual([
      ["b", first.ref],
      ["b", second.ref],
    ]);
  });
});

describe("an idle agent that let an offer lie", () => {
  it("is offered the job again in time, however busy the others are meanwhile", () => {
    const fleet = new FakeFleet(["a", "b"]);
    fleet.of("b").state = "busy";
    const dispatch = new Dispatch(fleet);
    const job = offer();
    dispatch.add([job]);
    vi.advanceTimersByTime(1_000);
    // It may be asked again from now on: the clock is there before the timer, and another's news before both.
    vi.setSystemTime(Date.now() + 1_000);
    for (let news = 0; news < 5; news++) {
      dispatch.changed({ took: [], done: [] }, "b");
      vi.advanceTimersByTime(100);
    }
    expect(fleet.told.map(({ agent }) => agent)).toEqual(["a", "a"]);
  });
});

describe("an account's turn", () => {
  it("is charged for a long run although thousands of short ones began since", () => {
    const [long, short] = [accountIdSchema.parse("a".repeat(16)), accountIdSchema.parse("b".repeat(16))];
    const fleet = new FakeFleet(["x"]);
    fleet.of("x").state = "busy";
    const dispatch = new Dispatch(fleet);
    const begin = (account = long) => {
      const one = { ...offer(), account };
      const ref = one.ref.replace(long, account);
      dispatch.changed({ took: [ref], done: [] }, "x");
      return ref;
    };
    const running = begin(long);
    for (let n = 0; n < 6_000; n++) dispatch.changed({ took: [], done: [{ ref: begin(short), seconds: 0.001 }] }, "x");
    dispatch.changed({ took: [], done: [{ ref: running, seconds: 600 }] }, "x");
    const [mine, theirs] = [offer({ account: long }), offer({ account: short })];
    dispatch.add([mine, theirs]);
    fleet.of("x").state = "idle";
    dispatch.run();
    expect(fleet.told.map(({ message }) => message.type === "offer" && message.ref)).toEqual([theirs.ref]);
  });
});
