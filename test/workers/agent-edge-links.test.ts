/**
 * Holds an agent's sockets and its way to the queue: who the objects believe it is, and what of a request never travels on.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { settingsOf } from "../../src/platform/env.ts";
import { bindings } from "./support/account.ts";
import { call, claimed, lostLease, newAgent, type TestAgent } from "./support/agent.ts";
import { as, operator, person, send } from "./support/client.ts";

afterEach(() => vi.restoreAllMocks());

const SPOOFED = {
  "X-Edge-Role": "viewer",
  "x-edge-identity": '{"agent":{"agent":"ag_somebodyelse","name":"x","pool":"default"}}',
};

function upgrade(token: string, path: string, headers: Record<string, string> = {}): Promise<Response> {
  const base = { Upgrade: "websocket", "X-Agent-Protocol": "1" };
  return send(`/agent/v1${path}`, as(token, { ...base, ...headers }));
}

function accepted(answer: Response): WebSocket {
  expect(answer.status).toBe(101);
  const socket = answer.webSocket;
  if (socket === null) throw new Error("no socket");
  socket.accept();
  return socket;
}

async function isOnline({ agent }: TestAgent): Promise<boolean> {
  const admin = await operator();
  const { agents } = await (await send("/admin/agents", as(admin.key))).json<{
    agents: { agent: string; online: boolean }[];
  }>();
  return agents.some((row) => row.agent === agent && row.online);
}

/** What the Worker hands to an object, seen at the namespace. */
function spyOn(namespace: DurableObjectNamespace) {
  const requests: Request[] = [];
  const get = namespace.get.bind(namespace);
  vi.spyOn(namespace, "get").mockImplementation((id, options) => {
    const stub = get(id, options);
    return new Proxy(stub, {
      get: (target, name) =>
        name === "fetch"
          ? (request: Request) => {
              requests.push(request);
              return target.fetch(request);
            }
          : Reflect.get(target, name),
    });
  });
  return requests;
}

describe("the control socket", () => {
  it("opens for the agent of the token, whatever identity the request claims", async () => {
    const agent = await newAgent();
    const seen = spyOn(bindings.POOL);
    const socket = accepted(await upgrade(agent.token, "/control", { ...SPOOFED, "X-Edge-Other": "1", Cookie: "a=b" }));
    const hello = {
      type: "hello",
      agent: agent.agent,
      instance: "i",
      version: "1",
      slots: [{ slot: 0, state: "idle" }],
    };
    socket.send(JSON.stringify({ ...hello, capability_hash: "none" }));
    await vi.waitUntil(() => isOnline(agent), { timeout: 5_000, interval: 5 });
    const [request] = seen;
    expect(request?.headers.get("X-Edge-Role")).toBe("agent");
    expect(JSON.parse(request?.headers.get("X-Edge-Identity") ?? "")).toEqual({
      agent: { agent: agent.agent, name: "box", pool: "default" },
      keyid: agent.token.split("_")[3],
    });
    for (const name of ["Authorization", "X-API-Key", "X-Lease", "Cookie", "X-Edge-Other"])
      expect([name, request?.headers.get(name)]).toEqual([name, null]);
    socket.close();
  });

  it("is 426 without an upgrade and 401 without a token", async () => {
    const agent = await newAgent();
    const plain = await send("/agent/v1/control", as(agent.token, { "X-Agent-Protocol": "1" }));
    expect([plain.status, await plain.json()]).toEqual([426, { error: "upgrade_required" }]);
    expect((await upgrade("junk", "/control")).status).toBe(401);
  });

  it("closes with 4401 when the agent is revoked", async () => {
    const agent = await newAgent();
    const socket = accepted(await upgrade(agent.token, "/control"));
    const closed = new Promise<number>((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
    const admin = await operator();
    await send(`/admin/agents/${agent.agent}`, { ...as(admin.key), method: "DELETE" });
    expect(await closed).toBe(4401);
  });
});

describe("the progress socket", () => {
  it("reaches the object of the lease's own job, with the lease as identity and not as header", async () => {
    const user = await person();
    const agent = await newAgent();
    const { lease, job } = await claimed(user, agent);
    const seen = spyOn(bindings.PROGRESS);
    const socket = accepted(await upgrade(agent.token, "/leases/progress", { ...SPOOFED, "X-Lease": lease }));
    const request = seen.find(({ headers }) => headers.get("Upgrade") === "websocket");
    expect(request?.headers.get("X-Edge-Role")).toBe("agent");
    expect(JSON.parse(request?.headers.get("X-Edge-Identity") ?? "")).toMatchObject({
      lease: { account: user.account, job, attempt: 1 },
      agent: { agent: agent.agent },
    });
    expect(request?.headers.get("X-Lease")).toBe(null);
    expect(request?.headers.get("Authorization")).toBe(null);
    socket.close();
  });

  it("does not open without a lease under our MAC, and wakes no object", async () => {
    const agent = await newAgent();
    const seen = spyOn(bindings.PROGRESS);
    const forged = `${lostLease().slice(0, -2)}zz`;
    for (const headers of [{}, { "X-Lease": forged }, { "X-Lease": "l_x" }]) {
      const answer = await upgrade(agent.token, "/leases/progress", headers);
      expect([answer.status, await answer.json()]).toEqual([409, { refusal: "lease_lost" }]);
    }
    expect(seen).toEqual([]);
  });
});

describe("the queue", () => {
  const messages = [{ id: "m", body: '{"v":1,"ref":"r"}', attempts: 1, lease_id: "L", timestamp_ms: 1, metadata: {} }];
  const pulled = { success: true, errors: [], messages: [], result: { message_backlog_count: 1, messages } };

  function cloudflareAnswers(body: unknown, status = 200) {
    return vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json(body, { status }));
  }

  it("is pulled by the token's pool with our own token, which the agent never sees", async () => {
    const agent = await newAgent();
    const { QUEUE_API_BASE, QUEUE_API_TOKEN } = settingsOf(bindings);
    const fetched = cloudflareAnswers(pulled);
    const answer = await call(agent.token, "/queue/pull", {
      batch_size: 50,
      visibility_timeout_ms: 1,
      queue_id: "other",
    });
    expect(answer.status).toBe(200);
    const text = await answer.text();
    expect(JSON.parse(text)).toEqual(pulled);
    const [url, init] = fetched.mock.calls[0] ?? [];
    expect(url).toBe(`${QUEUE_API_BASE}/jobs-default/messages/pull`);
    expect(new Headers(init?.headers).get("Authorization")).toBe(`Bearer ${QUEUE_API_TOKEN}`);
    expect(JSON.parse(String(init?.body))).toEqual({ batch_size: 50, visibility_timeout_ms: 60_000 });
    expect(text + JSON.stringify([...answer.headers])).not.toContain(QUEUE_API_TOKEN);
  });

  it("is acknowledged through us, and a retry comes back when we say", async () => {
    const agent = await newAgent();
    const fetched = cloudflareAnswers({ success: true, result: { ackCount: 1, retryCount: 1, warnings: [] } });
    const body = { acks: [{ lease_id: "L" }], retries: [{ lease_id: "M", delay_seconds: 9_999 }] };
    expect((await call(agent.token, "/queue/ack", body)).status).toBe(200);
    expect(JSON.parse(String(fetched.mock.calls[0]?.[1]?.body))).toEqual({
      acks: [{ lease_id: "L" }],
      retries: [{ lease_id: "M", delay_seconds: 10 }],
    });
  });

  it("answers 503 with Retry-After when our own token is refused there: 401 is for the agent's token alone", async () => {
    const agent = await newAgent();
    cloudflareAnswers({ success: false, errors: [{ code: 10000, message: "Authentication error" }] }, 401);
    const answer = await call(agent.token, "/queue/pull", {});
    expect([answer.status, await answer.json()]).toEqual([503, { error: "queue_unavailable" }]);
    expect(answer.headers.get("Retry-After")).toBe("5");
  });

  it("says paused in Cloudflare's shape, and refuses a batch over 100", async () => {
    const agent = await newAgent();
    cloudflareAnswers({ success: false }, 409);
    const paused = await call(agent.token, "/queue/pull", {});
    expect(paused.status).toBe(409);
    expect(await paused.json()).toMatchObject({ success: false, errors: [{ message: "queue_delivery_paused" }] });
    expect((await call(agent.token, "/queue/pull", { batch_size: 101 })).status).toBe(400);
  });
});
