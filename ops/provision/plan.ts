/**
 * Owns the difference between what a deploy needs and what the account has, as steps in their order.
 * Invariant: asking changes nothing; a step is made only where something is missing or other, so a second run has none.
 */
import { isDeepStrictEqual } from "node:util";
import type { CloudflareApi, consumerSchema, Rule } from "./cloudflare-api.ts";
import { type Desired, deadLettersOf, OURS, pullConsumer } from "./desired.ts";

export type Step = { what: string; apply: () => Promise<void> };
export type Plan = { steps: Step[]; found: string[] };

/** The part of CloudflareApi that `planFor` asks before anything is changed; null: nothing is known, all is to be made. */
type Seen = CloudflareApi | null;

export async function planFor(desired: Desired, api: Seen, writer: CloudflareApi): Promise<Plan> {
  const plan: Plan = { steps: [], found: [] };
  await planQueues(desired, api, writer, plan);
  await planBucket(desired, api, writer, plan);
  await planDatabase(desired, api, writer, plan);
  return plan;
}

function note(plan: Plan, isThere: boolean, what: string, apply: () => Promise<void>): void {
  if (isThere) plan.found.push(what);
  else plan.steps.push({ what, apply });
}

async function planQueues(desired: Desired, api: Seen, writer: CloudflareApi, plan: Plan): Promise<void> {
  const known = new Map((await api?.queues())?.map(({ queue_name, queue_id }) => [queue_name, queue_id]) ?? []);
  for (const name of desired.queues)
    note(plan, known.has(name), `queue ${name}`, async () => {
      known.set(name, (await writer.createQueue(name)).queue_id);
    });
  for (const { queue } of desired.pulled) {
    const wanted = pullConsumer(queue);
    const id = known.get(queue);
    const present = id === undefined || !api ? [] : await api.consumers(id);
    const [other] = present.filter(({ type }) => type !== "http_pull");
    if (other) throw new Error(`queue ${queue} has a consumer of type ${other.type}: remove it first, agents pull`);
    const [pull] = present;
    const what = `pull consumer of ${queue}, dead letters to ${deadLettersOf(queue)}`;
    note(plan, pull !== undefined && isSame(pull, wanted), what, async () => {
      const queueId = known.get(queue);
      if (queueId === undefined) throw new Error(`queue ${queue} was not made`);
      if (pull) await writer.updateConsumer(queueId, pull.consumer_id, wanted);
      else await writer.createConsumer(queueId, wanted);
    });
  }
}

function isSame(present: ReturnType<typeof consumerSchema.parse>, wanted: ReturnType<typeof pullConsumer>): boolean {
  if (present.dead_letter_queue !== wanted.dead_letter_queue) return false;
  return Object.entries(wanted.settings).every(([name, value]) => present.settings?.[name] === value);
}

async function planBucket(desired: Desired, api: Seen, writer: CloudflareApi, plan: Plan): Promise<void> {
  const { bucket } = desired;
  const isThere = (await api?.bucketNames())?.includes(bucket) ?? false;
  note(plan, isThere, `bucket ${bucket}`, () => writer.createBucket(bucket));
  for (const kind of ["lifecycle", "cors"] as const) {
    const present = isThere && api ? await api.rules(bucket, kind) : [];
    const others = present.filter((rule) => !rule.id?.startsWith(OURS));
    const ours = present.filter((rule) => rule.id?.startsWith(OURS));
    const wanted = desired[kind];
    const what = `${kind} rules of ${bucket}: ${wanted.map(({ id }) => id).join(", ") || "none of ours"}`;
    note(plan, sameRules(ours, wanted), what, () => writer.setRules(bucket, kind, [...others, ...wanted]));
  }
}

function sameRules(present: Rule[], wanted: Rule[]): boolean {
  return (
    present.length === wanted.length &&
    wanted.every((rule) => {
      const same = present.find(({ id }) => id === rule.id);
      return same !== undefined && Object.entries(rule).every(([name, value]) => isDeepStrictEqual(same[name], value));
    })
  );
}

async function planDatabase(desired: Desired, api: Seen, writer: CloudflareApi, plan: Plan): Promise<void> {
  const { name } = desired.database;
  const isThere = (await api?.databases())?.some((database) => database.name === name) ?? false;
  note(plan, isThere, `D1 database ${name}`, async () => {
    await writer.createDatabase(name);
  });
}
