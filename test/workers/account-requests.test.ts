/**
 * Owns what a job costs in requests to objects and in queue operations, counted at the bindings themselves.
 *
 * A request is what Cloudflare bills as one: each RPC call, each fetch, each alarm, and each 20 incoming WebSocket messages
 * (pings answered by the runtime itself are free). Counted is a happy job of a minute alone in its account, on an agent that
 * has been up before: submit, offer, claim, progress socket with a frame every 10 s as nobody watches, renewals at 15, 35 and
 * 55 s, upload, complete, and the alarms until all is told. Token checks are counted as they come: a yes is remembered for 30 s.
 * Not counted: reads and viewers, and the flushes of counters, which belong to an isolate and not to a job.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { claimGrantSchema, uploadsAnswerSchema } from "../../src/protocol/agent-api.ts";
import { bindings, METRICS, objectOf } from "./support/account.ts";
import { Doorbells } from "./support/account-doorbells.ts";
import { call, claimBody, entryOf, fileOf, newAgent, signedRef } from "./support/agent.ts";
import { as, type Person, person, send, submitted } from "./support/client.ts";
import { controlSocket, socketOf } from "./support/sockets.ts";
import { quiet } from "./support/steps.ts";

const NOON = Date.UTC(2030, 0, 2, 12);
/** Object requests of a happy job of 60 s: what it may not exceed, and the goal, which is not reached. */
const MOST = 14;
const GOAL = 10;
/** Written, read and deleted once each. */
const QUEUE_GOAL = 3;
const MESSAGES_PER_REQUEST = 20;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

type Get = (this: unknown, id: DurableObjectId, options?: object) => object;

/** Counts every call to a stub of these namespaces, from the Worker and from objects alike, until `stop`. */
function countCalls() {
  const calls = new Map<string, number>();
  const add = (what: string) => calls.set(what, (calls.get(what) ?? 0) + 1);
  // The prototype of the bindings: objects hold bindings of their own.
  const prototype = Object.getPrototypeOf(bindings.ACCOUNT) as { get: Get };
  const { get } = prototype;
  prototype.get = function (id, options) {
    const stub = get.call(this, id, options);
    return new Proxy(stub, {
      get: (target, method) => {
        const value: unknown = Reflect.get(target, method);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          add(String(method));
          return Reflect.apply(value, target, args);
        };
      },
    });
  };
  return { calls, add, stop: () => Object.assign(prototype, { get }) };
}

type Counter = ReturnType<typeof countCalls>;
/** `object`: the account's, by a stub that is not counted. */
type Scene = { user: Person; token: string; control: WebSocket; object: DurableObjectStub; counter: Counter };

async function alarmIfDue({ object: stub, counter }: Scene): Promise<void> {
  const armed = await runInDurableObject(stub, (_, state) => state.storage.getAlarm());
  if (armed === null || armed > Date.now()) return;
  counter.add("alarm");
  await runDurableObjectAlarm(stub);
}

/** The job of the header, second by second; returns the WebSocket messages its agent sent. */
async function happyMinute(scene: Scene): Promise<number> {
  const { user, token, control } = scene;
  let messages = 0;
  const say = (socket: WebSocket, message: object) => {
    messages++;
    socket.send(JSON.stringify(message));
  };
  const { job_id } = await submitted(user.key, { prompt: "a lighthouse", seed: 7 });
  await quiet(2);
  const ref = signedRef(user.account, job_id);
  const answer = await call(token, "/claims", claimBody(ref));
  const { lease } = claimGrantSchema.parse(await answer.json());
  say(control, { type: "slot", slot: 0, state: "busy", ref });
  const headers = { Upgrade: "websocket", "X-Agent-Protocol": "1", "X-Lease": lease };
  const socket = socketOf(await send("/agent/v1/leases/progress", as(token, headers)));
  for (let second = 1; second < 60; second++) {
    vi.setSystemTime(NOON + second * 1_000);
    // Nobody watches, and it was told so.
    if (second % 10 === 0)
      say(socket.socket, { type: "progress", n: second, ts: Date.now(), progress: second / 60, progress_detail: null });
    if (second % 20 === 15) {
      const renewal = { phase: "executing", progress: second / 60, progress_detail: null };
      expect((await call(token, "/leases/renew", renewal, { lease })).status).toBe(200);
    }
    await alarmIfDue(scene);
  }
  const bytes = new Uint8Array([1, 2, 3]);
  const file = await fileOf(bytes);
  const asked = await call(token, "/leases/uploads", { files: [file] }, { lease });
  const key = uploadsAnswerSchema.parse(await asked.json()).uploads[0]?.key ?? "";
  await bindings.ARTIFACTS.put(key, bytes);
  const manifest = { artifacts: [entryOf(file, key)], metrics: METRICS };
  expect((await call(token, "/leases/complete", manifest, { lease })).status).toBe(200);
  say(socket.socket, { type: "done" });
  say(control, { type: "slot", slot: 0, state: "idle" });
  await quiet(4);
  for (let second = 61; second < 200; second++) {
    vi.setSystemTime(NOON + second * 1_000);
    await alarmIfDue(scene);
  }
  return messages;
}

it(`a happy job of a minute makes at most ${MOST} requests to objects, and ${QUEUE_GOAL} queue operations`, async () => {
  const user = await person();
  const agent = await newAgent();
  const { socket: control } = await controlSocket({ agent: agent.agent, name: "box" });
  const slots = [{ slot: 0, state: "idle" }];
  const hello = { type: "hello", agent: agent.agent, instance: "i", version: "1", slots, capability_hash: "h" };
  control.send(JSON.stringify(hello));
  await quiet();
  const object = objectOf(user.account);
  const bells = new Doorbells(user.account);
  const counter = countCalls();
  const scene = { user, token: agent.token, control, object, counter };
  const messages = await happyMinute(scene).finally(counter.stop);
  bells.stop();
  control.close(1000);
  const { calls } = counter;
  for (const shared of ["flush", "add", "catalogue"]) calls.delete(shared);
  const total = [...calls.values()].reduce((sum, n) => sum + n, 0) + messages / MESSAGES_PER_REQUEST;
  console.log(`object requests per happy job of 60 s: ${total.toFixed(2)} (goal ${GOAL})`);
  for (const [what, n] of calls) console.log(`  ${n}  ${what}`);
  console.log(`  ${messages / MESSAGES_PER_REQUEST}  ${messages} WebSocket messages`);
  // Written once, and read and deleted once by whichever agent pulls it.
  const queueOps = bells.waiting.length * 3;
  console.log(`queue operations per happy job of 60 s: ${queueOps} (goal ${QUEUE_GOAL})`);
  expect(queueOps).toBe(QUEUE_GOAL);
  expect(total).toBeLessThanOrEqual(MOST);
});
