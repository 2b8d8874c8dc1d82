/**
 * Every route of the OpenAPI document x every kind of key x own, foreign and unknown ids: who gets in, and who learns nothing.
 * The matrix is made from the document: a route without a policy, or with an id nobody here can make, fails it.
 */
import { createExecutionContext } from "cloudflare:test";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { app } from "../../src/http/app.ts";
import { ROUTE_POLICIES, type RoutePolicy } from "../../src/http/middleware/policies.ts";
import { bindings } from "./support/account.ts";
import { as, type Person, person, post, send } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { type KeyKindCase, type Keys, keysOfEveryKind } from "./support/key-kinds.ts";
import { type Ids, newTarget, unknownIds } from "./support/targets.ts";

type Operation = { method: string; path: string; policy: RoutePolicy };

const CAT = { prompt: "a cat" };
const GRAPH = { "1": { class_type: "SaveImage", inputs: { filename_prefix: "x" } } };
/** A wrong body is told before a key is looked up: these are right, so that the key is what is judged. */
const BODIES: Record<string, object> = {
  "POST /api/v1/jobs": CAT,
  "POST /api/v1/jobs/bulk": { jobs: [CAT] },
  "POST /api/v1/generate": CAT,
  "POST /api/v1/generate/batch": { requests: [CAT] },
  "POST /api/v1/keys": { name: "x" },
  "POST /api/v1/webhooks": { url: "https://hooks.example.com/in" },
  "POST /v1/jobs": { workflow: GRAPH },
  "POST /agent/v1/enrol": {
    code: `ec_${"default".padStart(16, "0")}_${"0".repeat(26)}_${"0".repeat(27)}`,
    enrol_id: "0".repeat(20),
  },
};
/** Bodies that pass their schema, so that the id is what is judged; any other route gets `{}`. */
const ID_BODIES: Record<string, object> = {
  "POST /admin/api-keys/{user_id}/{keyid}/expire": { expires_at: "2030-01-01T00:00:00Z" },
};

/** Request ids and times apart, answers are compared byte for byte. */
const ANONYMOUS = [/"request_id":"[^"]*"/g, /"timestamp":"[^"]*"/g] as const;
/** Differ from one request to the next, whatever it asks for. */
const OWN_HEADERS = /^(x-request-id|ratelimit|x-ratelimit-\w+)$/;

// Of the edge, not of the objects: no line per request, and no address that asks too often.
const edge = { ...bindings, LOG_LEVEL: "warn", RATE_LIMIT_ENABLED: "false" };

let operations: Operation[];
let keys: Keys;
let owner: Person;
let stranger: Person;

beforeAll(async () => {
  // Nobody is told anything: nothing leaves this process.
  vi.spyOn(bindings.WEBHOOKS, "send").mockResolvedValue(undefined as never);
  vi.spyOn(bindings.WEBHOOKS, "sendBatch").mockResolvedValue(undefined as never);
  await openDirectory();
  operations = await documented();
  ({ keys, owner } = await keysOfEveryKind());
  stranger = await person();
});

async function documented(): Promise<Operation[]> {
  const { paths } = await (await send("/openapi.json")).json<{ paths: Record<string, Record<string, object>> }>();
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      policy: Reflect.get(operation, "x-auth"),
    })),
  );
}

/** What a kind of key gets under a policy: through, or a status. */
function verdict(policy: RoutePolicy, kind: KeyKindCase): "through" | 401 | 403 {
  if (policy === "open") return "through";
  if (policy === "bootstrap" || policy === "enrol") return 401;
  if (policy === "agent") return kind === "agent" ? "through" : 401;
  if (policy === "admin") {
    if (kind === "admin") return "through";
    return ["user", "service", "agent", "disabled", "revoked", "expired", "unknown"].includes(kind) ? 403 : 401;
  }
  if (kind === "user" || kind === "service") return "through";
  return kind === "disabled" ? 403 : 401;
}

/** Where nobody is asked for a key, one good and one bad one say it all. */
function kindsFor(policy: RoutePolicy): KeyKindCase[] {
  return policy === "open" ? ["none", "junk", "admin"] : (Object.keys(keys) as KeyKindCase[]);
}

type Seen = { status: number; text: string; headers: string; closed: number | null };

async function ask({ method, path, policy }: Operation, kind: KeyKindCase, ids: Ids = {}): Promise<Seen> {
  const url = path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? "0");
  const headers: Record<string, string> = { ...keys[kind], "CF-Connecting-IP": "192.0.2.1" };
  if (policy === "agent" || policy === "enrol") headers["X-Agent-Protocol"] = "1";
  if (isSocket(path)) headers.Upgrade = "websocket";
  const hasBody = !["GET", "DELETE", "HEAD"].includes(method);
  if (hasBody) headers["Content-Type"] = "application/json";
  const bodies = verdict(policy, kind) === "through" ? ID_BODIES : { ...BODIES, ...ID_BODIES };
  const body = hasBody ? JSON.stringify(bodies[`${method} ${path}`] ?? {}) : null;
  const request = new Request(new URL(url, "http://127.0.0.1:8787"), { method, headers, body, redirect: "manual" });
  return seen(await app.fetch(request, edge, createExecutionContext()));
}

const isSocket = (path: string) => /^\/(ws\/|agent\/v1\/control$|agent\/v1\/leases\/progress$)|\/ws$/.test(path);

async function seen(answer: Response): Promise<Seen> {
  const socket = answer.webSocket;
  const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream") ?? false;
  if (isStream) await answer.body?.cancel();
  const text = socket || isStream ? "" : await answer.text();
  const headers = [...answer.headers].filter(([name]) => !OWN_HEADERS.test(name)).map((pair) => pair.join(": "));
  return {
    status: answer.status,
    text: ANONYMOUS.reduce((rest, unlike) => rest.replace(unlike, ""), text),
    headers: headers.sort().join("\n"),
    closed: socket ? await closeOf(socket) : null,
  };
}

/** The code a socket is closed with; null when it stays open beyond its first frame. */
async function closeOf(socket: WebSocket): Promise<number | null> {
  const first = new Promise<number | null>((resolve) => {
    socket.addEventListener("close", ({ code }) => resolve(code));
    socket.addEventListener("message", () => resolve(null));
  });
  socket.accept();
  // A control socket says nothing until it is spoken to.
  socket.send("ping");
  const code = await first;
  socket.close(1000);
  return code;
}

/** What lies behind us does not answer here. */
const UNAVAILABLE = 503;

describe("every route", () => {
  it("of the app declares its policy, and the document names it", () => {
    const named = new Set(operations.map(({ method, path }) => `${method} ${path}`));
    const served = app.routes
      .filter(({ method, path }) => method !== "ALL" && !path.endsWith("*"))
      .map(
        ({ method, path }) =>
          `${method} ${path
            .replace(/^\/api\/v1\/admin\//, "/admin/")
            .replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")
            .replace(/(.)\/$/, "$1")}`,
      );
    expect([...new Set(served)].filter((route) => !named.has(route))).toEqual([]);
    const undeclared = operations.filter(({ policy }) => !ROUTE_POLICIES.includes(policy));
    expect(undeclared).toEqual([]);
    expect(operations.length).toBeGreaterThan(50);
  });

  it("lets through the keys of its policy alone, and says the same to all others (B33-B39, B49)", async () => {
    const wrong: string[] = [];
    for (const operation of operations) {
      const refused = new Map<number, string>();
      for (const kind of kindsFor(operation.policy)) {
        const { status, text, closed } = await ask(operation, kind, unknownIds(operation.path));
        const label = `${operation.method} ${operation.path} by ${kind}: ${status} ${closed ?? ""}`;
        const expected = verdict(operation.policy, kind);
        if (status >= 500 && status !== UNAVAILABLE) wrong.push(`${label}: never a fault`);
        if (operation.policy === "watcher" && status === 101) {
          // Browsers cannot read a refused upgrade: what the object decides comes as a close.
          if (closed !== (expected === "through" ? 1008 : 4401)) wrong.push(label);
        } else if (expected === "through" ? status === 401 || status === 403 : status !== expected) wrong.push(label);
        if (status !== 401) continue;
        const first = refused.get(status) ?? text;
        refused.set(status, first);
        if (text !== first) wrong.push(`${label}: tells ${text} where others hear ${first}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("every route with an id", () => {
  const withIds = () => operations.filter(({ path }) => path.includes("{"));

  it("I48: answers a foreign id byte for byte like one that never was (B42)", async () => {
    const wrong: string[] = [];
    for (const operation of withIds()) {
      if (!["client", "owner", "watcher"].includes(operation.policy)) continue;
      const foreign = await newTarget(operation.path, stranger);
      for (const kind of ["user", "service"] as const) {
        const [theirs, none] = [
          await ask(operation, kind, foreign),
          await ask(operation, kind, unknownIds(operation.path)),
        ];
        const label = `${operation.method} ${operation.path} by ${kind}`;
        if (JSON.stringify(theirs) !== JSON.stringify(none)) wrong.push(`${label}: ${JSON.stringify([theirs, none])}`);
        const isHidden = theirs.status === 404 || theirs.closed === 1008;
        if (!isHidden) wrong.push(`${label}: ${theirs.status} ${theirs.text}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("finds the caller's own, so that the others' 404 means something", async () => {
    const wrong: string[] = [];
    for (const operation of withIds()) {
      if (!["client", "owner", "watcher"].includes(operation.policy)) continue;
      const mine = await newTarget(operation.path, owner);
      const { status, closed } = await ask(operation, "user", mine);
      // A job that has not run has no first artifact.
      const isThere = operation.path.endsWith("/artifacts/{n}") ? status === 404 : status < 404 || status === 409;
      if (!isThere || closed === 1008) wrong.push(`${operation.method} ${operation.path}: ${status} ${closed}`);
    }
    expect(wrong).toEqual([]);
  });

  it("tells those who may not ask nothing about any id, and leaves it as it is", async () => {
    const wrong: string[] = [];
    for (const operation of withIds()) {
      const real = await newTarget(operation.path, stranger);
      for (const kind of ["none", "junk", "user", "revoked", "agent", "admin"] as const) {
        if (verdict(operation.policy, kind) === "through") continue;
        const answers = [await ask(operation, kind, real), await ask(operation, kind, unknownIds(operation.path))];
        if (JSON.stringify(answers[0]) !== JSON.stringify(answers[1]))
          wrong.push(`${operation.method} ${operation.path} by ${kind}: ${JSON.stringify(answers)}`);
      }
    }
    expect(wrong).toEqual([]);
    const { job_id } = await (await send("/api/v1/jobs", post(stranger.key, '{"prompt":"a cat"}'))).json<{
      job_id: string;
    }>();
    expect(await (await send(`/api/v1/jobs/${job_id}`, as(stranger.key))).json()).toMatchObject({ status: "queued" });
  });
});
