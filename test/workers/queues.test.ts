/**
 * Holds the Worker's queue consumers: what becomes of each message of a batch.
 */

import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { METRICS_SHARDS, metricsOf } from "../../src/objects/locate.ts";
import { metricsText, sumOf } from "../../src/platform/metrics-text.ts";
import { consume } from "../../src/queues/consume.ts";
import { mistyped } from "../support/mistyped.ts";
import { bindings, openAccount } from "./support/account.ts";
import { signedRef } from "./support/agent.ts";

afterEach(() => vi.restoreAllMocks());

let next = 0;
function message(body: unknown, attempts = 1) {
  return { id: `m${next++}`, timestamp: new Date(), attempts, body };
}
const doorbell = (ref: string) => JSON.stringify({ v: 1, ref });

async function consumed(queue: string, messages: ReturnType<typeof message>[]) {
  const batch = createMessageBatch(queue, messages);
  const ctx = createExecutionContext();
  await consume(batch, bindings, ctx);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, ctx);
  return { acked: explicitAcks, retried: retryMessages.map(({ msgId }) => msgId) };
}

async function total(series: string): Promise<number> {
  const shards = await Promise.all(Array.from({ length: METRICS_SHARDS }, (_, i) => metricsOf(bindings, i).read()));
  const line = metricsText(sumOf(shards.map(({ counters }) => counters)), [])
    .split("\n")
    .find((text) => text.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? "0");
}

/** Every account's answer to `doorbellDied` is this; the calls are what it was told. */
function accountsAnswer(answer: () => Promise<void>) {
  const told: [string, number][] = [];
  const get = bindings.ACCOUNT.get.bind(bindings.ACCOUNT);
  vi.spyOn(bindings.ACCOUNT, "get").mockImplementation((id, options) => {
    const stub = get(id, options);
    return new Proxy(stub, {
      get: (target, name) =>
        name === "doorbellDied"
          ? (job: string, attempt: number) => {
              told.push([job, attempt]);
              return answer();
            }
          : Reflect.get(target, name),
    });
  });
  return told;
}

describe("a dead doorbell", () => {
  it("is reported to its account and acknowledged; the job is still queued, and claimable", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const reported = 'comfy_edge_doorbells_dead_total{outcome="reported"}';
    const before = await total(reported);
    const dead = message(doorbell(signedRef(account.account, job)));
    expect(await consumed("jobs-default-dlq", [dead])).toEqual({ acked: [dead.id], retried: [] });
    expect((await account.get(job)).status).toBe("queued");
    expect(await total(reported)).toBe(before + 1);
    expect((await account.claim(job)).ok).toBe(true);
  });

  it("names the job and attempt of its ref to the account", async () => {
    const account = await openAccount();
    const told = accountsAnswer(async () => undefined);
    await consumed("jobs-default-dlq", [message(doorbell(signedRef(account.account, "j_00000000abcd", 3)))]);
    expect(told).toEqual([["j_00000000abcd", 3]]);
  });

  it("comes again when its account cannot be reached, without holding up the others of its batch", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    let calls = 0;
    accountsAnswer(() => (calls++ === 0 ? Promise.reject(new Error("the object is down")) : Promise.resolve()));
    const [first, second] = [message(doorbell(signedRef(account.account, job))), message("junk")];
    const third = message(doorbell(signedRef(account.account, job)));
    const result = await consumed("jobs-default-dlq", [first, second, third]);
    expect(result.retried).toEqual([first.id]);
    expect(result.acked.toSorted()).toEqual([second.id, third.id].toSorted());
  });

  it("that is no doorbell of ours is dropped and told to no account, whatever it is", async () => {
    const account = await openAccount();
    const told = accountsAnswer(async () => undefined);
    const good = signedRef(account.account, "j_00000000abcd");
    const forged = mistyped(good);
    const bodies = ["", "{", "null", doorbell(forged), doorbell("r_x"), JSON.stringify({ v: 2, ref: good }), 7, null];
    const batch = bodies.map((body) => message(body));
    expect((await consumed("jobs-default-dlq", batch)).acked).toEqual(batch.map(({ id }) => id));
    expect(told).toEqual([]);
  });
});

describe("a message of an unknown shape", () => {
  it("on any other queue is logged, counted and acknowledged", async () => {
    const log = vi.spyOn(console, "log");
    const unknown = message({ from: "the future" });
    expect(await consumed("webhooks-dlq", [unknown])).toEqual({ acked: [unknown.id], retried: [] });
    expect(await total('comfy_edge_queue_messages_unknown_total{queue="webhooks-dlq"}')).toBe(1);
    const lines = log.mock.calls.map(([line]) => String(line));
    expect(lines.some((line) => line.includes("queue_message_unknown") && line.includes(unknown.id))).toBe(true);
    expect(lines.some((line) => line.includes("the future"))).toBe(false);
  });
});
