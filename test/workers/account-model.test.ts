/**
 * Owns the proof by random lives: a real account object against what clients, agents, the queue, time and faults may do,
 * in any order. After each step every invariant is looked at; at the end each must have been.
 *
 * A failure prints seed, path and replayPath: `MODEL_SEED=... MODEL_PATH=... MODEL_REPLAY=... npx vitest run --project workers test/workers/account-model.test.ts`
 * lives it again. `npm run soak` lives 20,000.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import { DEFAULT_ROLES } from "../../src/protocol/roles.ts";
import { openAccount } from "./support/account.ts";
import { COMMANDS } from "./support/account-commands.ts";
import { breakOf, checksOf, INVARIANTS, lives, metOf, SOMETIMES } from "./support/account-ledger.ts";
import { comeToRest } from "./support/account-rest.ts";
import { type Surroundings, World } from "./support/account-world.ts";
import { asked } from "./support/asked.ts";

const NOON = Date.UTC(2030, 0, 2, 12);
const MAX_COMMANDS = 40;
/** From so many lives on each invariant and each rarity must have been met. */
const ENOUGH = 300;

const { runs: RUNS, seed: asked_seed, path, replay } = asked().model;
const seed = asked_seed ?? Date.now() % 2 ** 31;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(() => {
  watchSteps(null);
  vi.useRealTimers();
});

type Commands = Iterable<fc.AsyncCommand<object, World>>;

async function live(role: "tenant" | "pro", up: Surroundings, commands: Commands): Promise<void> {
  vi.setSystemTime(NOON);
  const world = new World(await openAccount(role), DEFAULT_ROLES[role], up, role);
  try {
    await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
    await comeToRest(world);
    lives.run++;
  } finally {
    world.stop();
  }
}

describe("any life of an account", () => {
  it(`of ${RUNS}, each of up to ${MAX_COMMANDS} commands, comes to rest when faults stop`, async () => {
    const again = replay === "" ? {} : { replayPath: replay };
    const all = fc.commands(COMMANDS, { maxCommands: MAX_COMMANDS, size: "max", ...again });
    const role = fc.constantFrom("tenant", "pro");
    const property = fc.asyncProperty(role, fc.constantFrom("all", "queue", "none"), all, live);
    await fc.assert(property, { numRuns: RUNS, seed, path });
    const counts = [
      `seed ${seed}: ${lives.run} lives, ${lives.commands} steps`,
      ...SOMETIMES.map((what) => `${what}: ${metOf(what)}`),
      `looked at: ${INVARIANTS.map(({ id }) => `${id} ${checksOf(id)}`).join(", ")}`,
    ];
    console.log(counts.join("\n"));
  }, 36_000_000);

  it.each(INVARIANTS)("$id: $title", ({ id }) => {
    expect(breakOf(id)).toBeNull();
    if (lives.run >= ENOUGH) expect(checksOf(id), "nothing could have broken it").toBeGreaterThan(0);
  });

  it.each(SOMETIMES)("sometimes: %s", (what) => {
    if (lives.run >= ENOUGH) expect(metOf(what)).toBeGreaterThan(0);
  });
});
