/**
 * Owns the commands of the job queue in a random life: it delivers late, twice, out of order, or never.
 * Invariant: what is delivered was sent by the account; a claim is granted as its doorbell and the rows say, never more.
 */
import { must, sometimes } from "./account-ledger.ts";
import { claimOf, granted } from "./agent-commands.ts";
import { command } from "./model-command.ts";

/** `copies` agents get the `n`th waiting message in the same moment; `keep`: it stays in the queue, as if unacknowledged. */
export const deliver = (n: number, copies: number, keep: boolean) =>
  command(`deliver ${n} to ${copies}${keep ? ", unacknowledged" : ""}`, async (world) => {
    const { waiting } = world.doorbells;
    const i = n % Math.max(waiting.length, 1);
    const bell = waiting[i];
    if (!bell) return;
    const rivals = waiting.filter((b) => b.job === bell.job);
    if (rivals.indexOf(bell) > 0 || i > 0) sometimes("doorbell overtaken by a later one");
    if (!keep) waiting.splice(i, 1);
    const row = world.live(bell.job);
    const agents = Array.from({ length: copies }, (_, k) => `agent-${"abc"[k]}`);
    const claims = await Promise.all(agents.map((agent) => claimOf(world, bell.job, bell.attempt, agent)));
    const wins = claims.filter((c) => c.result.ok).length;
    must("I11", wins <= 1, `one doorbell was granted ${wins} times`);
    const isCurrent = row?.status === "queued" && bell.attempt === row.attempt + 1;
    if (!isCurrent) must("I11", wins === 0, `a doorbell of attempt ${bell.attempt} was granted at ${row?.attempt}`);
    for (const made of claims) granted(world, made);
    if (copies > 1) sometimes("doorbell delivered twice at once");
    if (claims.some((c) => !c.result.ok && c.result.refusal === "gone")) sometimes("doorbell of an ended attempt gone");
  });

export const lose = (n: number) =>
  command(`lose ${n}`, async (world) => {
    const { waiting } = world.doorbells;
    if (waiting.length === 0) return;
    waiting.splice(n % waiting.length, 1);
    sometimes("doorbell lost");
  });
