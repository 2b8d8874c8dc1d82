/**
 * Owns the mix of commands that random lives are made of.
 * Invariant: few jobs, keys and agents, so that commands meet on the same ones.
 */
import fc from "fast-check";
import {
  AGENTS,
  cancelThenComplete,
  claim,
  completeLate,
  deadBell,
  discard,
  finish,
  loseLease,
  lostSocket,
  poison,
  race,
  renew,
  spoil,
  VERBS,
} from "./agent-commands.ts";
import { burst, cancel, limit, misuse, sameTwice, submit, watch } from "./client-commands.ts";
import {
  abort,
  alarmAgain,
  clockStep,
  dieDuring,
  evict,
  FAULTY_STEPS,
  fault,
  together,
  WAITS_MS,
  wait,
} from "./fault-commands.ts";
import type { Command } from "./model-command.ts";
import { deliver, lose } from "./queue-commands.ts";

const index = fc.nat({ max: 3 });
const agent = fc.constantFrom(...AGENTS);
const key = fc.constantFrom("k1", "k2", "k3");
/** Some jobs have short timeouts, so that a life sees their ends. */
const timeouts = fc.constantFrom({}, {}, { queue_timeout_ms: 60_000, run_timeout_ms: 60_000 });
const call = fc.constantFrom("submit", "cancel", "claim", "complete", "fail", "renew", "alarm");

/** One arbitrary per kind of command; fast-check draws among them evenly. */
export const COMMANDS: fc.Arbitrary<Command>[] = [
  fc.tuple(fc.option(key), timeouts).map(([k, over]) => submit(k, over)),
  fc.integer({ min: 2, max: 8 }).map(burst),
  fc.tuple(key, fc.integer({ min: 2, max: 4 })).map(([k, n]) => sameTwice(k, n)),
  key.map(misuse),
  index.map(watch),
  index.map(cancel),
  fc.record({ max_active: fc.constantFrom(1, 3, 25), max_running: fc.constantFrom(1, 2, 5) }).map(limit),
  fc.tuple(index, fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([n, copies, keep]) => deliver(n, copies, keep)),
  fc.tuple(index, fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([n, copies, keep]) => deliver(n, copies, keep)),
  index.map(lose),
  fc.tuple(index, agent, fc.boolean(), fc.constantFrom(-1, 0, 0, 1)).map(([n, a, ahead, o]) => claim(n, a, ahead, o)),
  index.map(race),
  fc.tuple(index, fc.boolean()).map(([n, executing]) => renew(n, executing)),
  fc.tuple(index, fc.constantFrom(...VERBS), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  fc.tuple(index, fc.constant("complete" as const), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  index.map(completeLate),
  fc.tuple(index, agent, fc.constantFrom(21_000, 65_000)).map(([n, a, ms]) => loseLease(n, a, ms)),
  index.map(cancelThenComplete),
  fc.tuple(index, fc.array(call, { minLength: 2, maxLength: 5 })).map(([n, calls]) => together(n, calls)),
  index.map((n) => together(n, ["complete", "cancel"])),
  index.map(poison),
  fc.tuple(index, fc.constantFrom("complete", "complete badly")).map(([n, verb]) => spoil(n, verb)),
  index.map(discard),
  index.map(lostSocket),
  index.map(deadBell),
  fc.constantFrom(...WAITS_MS).map(wait),
  fc.constantFrom(-600_000, 600_000).map(clockStep),
  fc.constant(alarmAgain),
  fc.constant(evict),
  fc.constant(abort),
  fc.tuple(index, call).map(([n, what]) => dieDuring(n, what)),
  fc.tuple(fc.constantFrom(...FAULTY_STEPS), fc.constantFrom("before", "after")).map(([s, p]) => fault(s, p)),
];
