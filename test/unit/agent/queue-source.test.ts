/**
 * Owns what an agent makes of a queue that answers nonsense, refuses, or does not answer: over a real HTTP connection.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ControlPlane, type Rejected } from "../../../gpu-agent/control-plane.ts";
import { makeLog } from "../../../gpu-agent/log.ts";
import { Metrics } from "../../../gpu-agent/metrics.ts";
import { QueueSource } from "../../../gpu-agent/queue-source.ts";

type Call = { path: string; body: { acks?: { lease_id: string }[] } };
type Reply = { status: number; body: unknown };
const EMPTY: Reply = { status: 200, body: { success: true, result: { messages: [] } } };

let server: Server | null = null;
let source: QueueSource | null = null;
afterEach(async () => {
  await source?.stop();
  server?.closeAllConnections();
  server?.close();
});

async function bodyOf(request: IncomingMessage): Promise<Call["body"]> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

/** A queue that answers each pull by the next of `pulls`, then with nothing; and an agent's source on it, started. */
async function pulling(pulls: Reply[]) {
  const calls: Call[] = [];
  const claimed: string[] = [];
  let wake: () => void = () => undefined;
  server = createServer(async (request, response) => {
    const path = request.url ?? "";
    calls.push({ path, body: await bodyOf(request) });
    const reply = path.endsWith("/queue/pull") ? (pulls.shift() ?? EMPTY) : EMPTY;
    response.writeHead(reply.status, { "content-type": "application/json" }).end(JSON.stringify(reply.body));
    wake();
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const { promise: rejected, resolve: reject } = Promise.withResolvers<Rejected>();
  const handlers = {
    idleSlots: () => 5,
    offersFlow: () => false,
    taken: async () => new Set<string>(),
    claim: async (ref: string) => {
      claimed.push(ref);
      return "settled" as const;
    },
    rejected: reject,
  };
  const metrics = new Metrics();
  const control = new ControlPlane(`http://127.0.0.1:${port}`, "token");
  source = new QueueSource(control, handlers, metrics, makeLog("json", "silent", {}));
  source.start();
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
  };
  const count = async (name: "pulls" | "doorbells", result: string) =>
    (await metrics[name].get()).values.find((v) => v.labels.result === result)?.value ?? 0;
  return { calls, claimed, rejected, until, count };
}

const pullsOf = (calls: Call[]) => calls.filter(({ path }) => path.endsWith("/queue/pull")).length;
const message = (lease_id: string, body: string) => ({
  id: lease_id,
  body,
  attempts: 1,
  lease_id,
  timestamp_ms: 1,
  metadata: {},
});

describe("a queue", () => {
  it("F48: whose messages are malformed, of an unknown version or too large has each acknowledged and counted once", async () => {
    const bodies = ["", "{", "null", '{"v":2,"ref":"r"}', '{"v":1}', "x".repeat(100_000)];
    const good = message("good", '{"v":1,"ref":"r_account_job"}');
    const messages = [...bodies.map((body, n) => message(`bad${n}`, body)), good];
    const agent = await pulling([{ status: 200, body: { success: true, result: { messages } } }]);
    await agent.until(() => agent.calls.some(({ path }) => path.endsWith("/queue/ack")));
    const acks = agent.calls.find(({ path }) => path.endsWith("/queue/ack"))?.body.acks?.map((a) => a.lease_id);
    expect(acks?.sort()).toEqual(messages.map((m) => m.lease_id).sort());
    expect(await agent.count("doorbells", "malformed")).toBe(bodies.length);
    expect(agent.claimed).toEqual(["r_account_job"]);
  });

  it.each([401, 403])(
    "F50: that refuses the token with %i is pulled no more, and the agent says so",
    async (status) => {
      const agent = await pulling([{ status, body: { error: "unauthorized" } }]);
      expect((await agent.rejected).status).toBe(status);
      await source?.stop();
      expect(pullsOf(agent.calls)).toBe(1);
    },
  );

  it("F51: that answers 429, 500 or nonsense is asked again after a pause, and then serves", async () => {
    const bad = [429, 500].map((status) => ({ status, body: {} }));
    const good = message("good", '{"v":1,"ref":"r_account_job"}');
    const served = { status: 200, body: { success: true, result: { messages: [good] } } };
    const agent = await pulling([...bad, { status: 200, body: "nonsense" }, served]);
    const began = performance.now();
    await agent.until(() => agent.claimed.length > 0 || pullsOf(agent.calls) > 5);
    expect(agent.claimed).toEqual(["r_account_job"]);
    // Each pause is longer than the one before; the shortest first one is half a second, less its spread.
    expect(performance.now() - began).toBeGreaterThan(500);
    expect(await agent.count("pulls", "failed")).toBeGreaterThanOrEqual(2);
  });
});
