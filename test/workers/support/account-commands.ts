import fc from "fast-check";
import { newJob } from "./account.ts";
import { isActive } from "./account-rows.ts";
import { sometimes, type World } from "./account-world.ts";
import {
  AGENTS,
  cancelThenComplete,
  claim,
  deadBell,
  finish,
  loseLease,
  lostSocket,
  race,
  renew,
  VERBS,
} from "./agent-commands.ts";
import {
  abort,
  alarmAgain,
  clockStep,
  dieDuring,
  evict,
  FAULTY_STEPS,
  fault,
  WAITS_MS,
  wait,
} from "./fault-commands.ts";
import { type Command, command, must } from "./model-command.ts";

// --- clients -----------------------------------------------------------------------------------------------------

type Submitted = Awaited<ReturnType<World["account"]["submit"]>>;

function took(world: World, result: Submitted, key: string | null): void {
  if (!result.ok) return;
  const [record] = result.value.records;
  must(record !== undefined, "a submit answered without a job");
  if (!record) return;
  const known = key === null ? undefined : world.keys.get(key);
  must(known === undefined || record.job === known, `I36: ${key} made a second job`);
  must(!result.value.replayed || key !== null, "a submit without a key was replayed");
  if (result.value.replayed) sometimes("replayed submit");
  if (key !== null) world.keys.set(key, record.job);
  for (const { job } of result.value.records) world.accept(job);
}

const submit = (key: string | null, priority: number) =>
  command(`submit ${key} ${priority}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const over = key === null ? {} : { idempotency: { key, fingerprint: "same" } };
    const result = await world.account.submit([newJob({ priority })], over);
    took(world, result, key);
    if (result.ok || result.refusal.code !== "CONCURRENCY_LIMIT") return;
    must(active >= world.limits.max_active, `I1: refused with ${active} slots held`);
    sometimes("submit refused at the limit");
  });

const burst = (n: number) =>
  command(`burst of ${n}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const results = await Promise.all(Array.from({ length: n }, () => world.account.submit()));
    for (const result of results) took(world, result, null);
    if (results.some((r) => !r.ok && r.refusal.code !== "CONCURRENCY_LIMIT")) return;
    const accepted = results.filter((r) => r.ok).length;
    must(
      accepted === Math.min(n, world.limits.max_active - active),
      `I1: ${accepted} of ${n} accepted beside ${active}`,
    );
  });

const cancel = (n: number) =>
  command(`cancel ${n}`, async (world) => {
    const job = world.job(n);
    if (!job) return;
    const before = world.live(job)?.status ?? null;
    const result = await world.account.stub().cancelJob(world.account.auth, job);
    must(result.ok, "a cancel of an own job was refused");
    if (!result.ok) return;
    must(result.value.changed === (before !== null), `I26: cancel in ${before} said ${result.value.changed}`);
    if (result.value.changed) world.cancelled.add(job);
    else if (result.value.record.status === "succeeded") sometimes("commit beat cancel");
  });

// --- all together -----------------------------------------------------------------------------------------------------

/** Few, so that commands meet on the same job. */
const index = fc.nat({ max: 3 });
const agent = fc.constantFrom(...AGENTS);

/** One arbitrary per kind of command; fast-check draws among them evenly. */
export const COMMANDS: fc.Arbitrary<Command>[] = [
  fc.tuple(fc.option(fc.constantFrom("k1", "k2", "k3")), fc.constant(0)).map(([key, p]) => submit(key, p)),
  fc.integer({ min: 2, max: 8 }).map(burst),
  index.map(cancel),
  fc.tuple(index, agent, fc.boolean(), fc.constant(0)).map(([n, a, ahead, o]) => claim(n, a, ahead, o)),
  fc.tuple(index, agent, fc.boolean(), fc.constantFrom(-1, 0, 1)).map(([n, a, ahead, o]) => claim(n, a, ahead, o)),
  index.map(race),
  fc.tuple(index, fc.boolean()).map(([n, executing]) => renew(n, executing)),
  fc.tuple(index, fc.constantFrom(...VERBS), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  fc.tuple(index, fc.constant("complete" as const), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  fc.tuple(index, agent, fc.constantFrom(21_000, 65_000)).map(([n, a, ms]) => loseLease(n, a, ms)),
  index.map(cancelThenComplete),
  index.map(lostSocket),
  index.map(deadBell),
  fc.constantFrom(...WAITS_MS).map(wait),
  fc.constantFrom(-600_000, 600_000).map(clockStep),
  fc.constant(alarmAgain),
  fc.constant(evict),
  fc.constant(abort),
  fc.tuple(index, fc.constantFrom("submit", "cancel", "claim", "complete")).map(([n, what]) => dieDuring(n, what)),
  fc.tuple(fc.constantFrom(...FAULTY_STEPS), fc.constantFrom("before", "after")).map(([s, p]) => fault(s, p)),
];
