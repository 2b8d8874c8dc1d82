/** The soak's judge notices each wrong that it is there for: a soak that finds nothing must not be blind. */
import { describe, expect, it } from "vitest";
import { faultsIn, type History } from "../../soak/agents/checker.ts";

const event = (revision: number, to: History["events"][number]["to"], attempt = 1, cause = "x") => {
  return { revision, from: null, to, attempt, cause };
};
const good: History = {
  job: "j_1",
  view: {
    job_id: "j_1",
    status: "succeeded",
    attempt: 2,
    result: { artifacts: [{ url: "http://127.0.0.1/a7/u/j_1/2-abc/1.png", sha256: "s" }] },
    error: null,
  },
  events: [
    event(1, "queued", 0),
    event(2, "running"),
    event(3, "queued"),
    event(4, "running", 2),
    event(5, "succeeded", 2),
  ],
  cancelAcknowledged: false,
  bytes: ["s"],
};
const view = (change: Partial<NonNullable<History["view"]>>) => ({
  ...good,
  view: good.view && { ...good.view, ...change },
});
const failedWith = (code: string) => {
  const changed = view({ status: "failed", result: null, error: { code } });
  return { ...changed, events: [...good.events.slice(0, 4), event(5, "failed", 2)], bytes: [] };
};

describe("the judge of a soak", () => {
  it("finds nothing wrong with a job that was rescued and committed once", () => {
    expect(faultsIn(good)).toEqual([]);
    expect(faultsIn(failedWith("AGENT_LOST"))).toEqual([]);
  });

  it.each<[string, History, RegExp]>([
    ["a lost job", { ...good, view: null }, /lost/],
    ["a job without an end", view({ status: "running" }), /still running/],
    ["two commits", { ...good, events: [...good.events, event(6, "succeeded", 2)] }, /twice/],
    ["an end after an end", { ...good, events: [...good.events, event(6, "failed", 2)] }, /ended 2 times/],
    ["a gap", { ...good, events: good.events.toSpliced(2, 1) }, /gap/],
    ["an attempt that goes back", { ...good, events: good.events.with(3, event(4, "running", 0)) }, /earlier attempt/],
    ["a success after an acknowledged cancel", { ...good, cancelAcknowledged: true }, /after its cancel/],
    ["a file of a dead attempt", view({ attempt: 1 }), /another attempt/],
    ["a file with other bytes", { ...good, bytes: ["t"] }, /not what its manifest says/],
    ["a file that is gone", { ...good, bytes: [null] }, /not what its manifest says/],
    ["a success with nothing", view({ result: { artifacts: [] } }), /nothing/],
    ["a failure that no trouble explains", failedWith("UNDELIVERABLE"), /failed with UNDELIVERABLE/],
  ])("notices %s", (_, history, said) => {
    expect(faultsIn(history).join("; ")).toMatch(said);
  });
});
