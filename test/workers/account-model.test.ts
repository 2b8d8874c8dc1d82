/**
 * Owns the proof by random lives: a real account object against what clients, agents, time and faults may do, in any order.
 *
 * A failure prints seed and path, from which it can be replayed.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import { DEFAULT_ROLES } from "../../src/protocol/roles.ts";
import { openAccount } from "./support/account.ts";
import { COMMANDS } from "./support/account-commands.ts";
import { comeToRest } from "./support/account-rest.ts";
import { SOMETIMES, seen, World } from "./support/account-world.ts";
import { asked } from "./support/asked.ts";

const NOON = Date.UTC(2030, 0, 2, 12);
const MAX_COMMANDS = 40;

const { runs: RUNS, seed, path } = asked().model;
const replay = seed === null ? {} : { seed, path };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(() => {
  watchSteps(null);
  vi.useRealTimers();
});

describe("any life of an account", () => {
  it("keeps every invariant after every step, and comes to rest when faults stop", async () => {
    const property = fc.asyncProperty(
      fc.constantFrom("tenant", "pro"),
      fc.boolean(),
      fc.commands(COMMANDS, { maxCommands: MAX_COMMANDS, size: "max" }),
      async (role, deaf, commands) => {
        vi.setSystemTime(NOON);
        const world = new World(await openAccount(role), DEFAULT_ROLES[role], deaf);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
        await comeToRest(world);
      },
    );
    await fc.assert(property, { numRuns: RUNS, ...replay });
    console.log(SOMETIMES.map((what) => `${what}: ${seen.get(what) ?? 0}`).join("\n"));
    if (RUNS >= 300) for (const what of SOMETIMES) expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
  }, 36_000_000);
});
