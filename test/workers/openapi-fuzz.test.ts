/**
 * Asks every documented operation for what it documents, nearly documents and never heard of: no 5xx, and every answer is
 * one the document names, in the form it names. A failure prints the seed and the smallest request; FUZZ_SEED repeats it.
 */
import { type Schema as AnswerSchema, Validator } from "@cfworker/json-schema";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { newAgent } from "./support/agent.ts";
import { asked } from "./support/asked.ts";
import { operator, person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { type Asked, type Operation, type Parameter, requestTo, type World } from "./support/fuzz-requests.ts";
import type { Schema, Schemas } from "./support/fuzz-values.ts";

type Content<S> = { "application/json"?: { schema?: S; example?: unknown } };
type DocumentedOperation = {
  "x-auth"?: string;
  parameters?: Parameter[];
  requestBody?: { content: Content<Schema> };
  responses: { [status: string]: { content?: Content<AnswerSchema>; headers?: { [name: string]: unknown } } };
};
type Document = {
  paths: { [path: string]: { [method: string]: DocumentedOperation } };
  components: { schemas: Schemas };
};

/** Where 503 says something true of a system without agents. */
const MAY_BE_UNAVAILABLE = /^\/(?:readyz$|api\/v1\/generate)/;
/** Headers that an answer carries only where its description says so. */
const SOMETIMES = new Set(["Link", "Preference-Applied"]);
/** Cloudflare's queue API, the one thing outside: an empty queue. */
const EMPTY_QUEUE = {
  success: true,
  errors: [],
  messages: [],
  result: { messages: [], backlog_count: 0, message_backlog_count: 0, ackCount: 0, retryCount: 0, warnings: [] },
};

const { seed, runs } = asked().fuzz;
const TIMEOUT_MS = 60_000 + runs * 2_500;
console.info(`openapi-fuzz: seed ${seed}, ${runs} requests an operation (FUZZ_SEED=${seed} repeats them)`);

let world: World;
let operations: Operation[];
let document: Document;

beforeAll(async () => {
  await openDirectory();
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json(EMPTY_QUEUE));
  document = await (await send("/openapi.json")).json<Document>();
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(path, method, operation)),
  );
  const [user, other, service, admin, agent] = await Promise.all([
    person(),
    person(),
    person("service"),
    operator(),
    newAgent(),
  ]);
  const { job_id } = await submitted(user.key, { prompt: "a lighthouse" });
  const made = await submitted(service.key, { prompt: "a lighthouse" }, { "X-User-ID": "tenant-1" });
  // The account that admins are let loose on is none of those that call.
  const ids = [
    job_id,
    job_id,
    made.job_id,
    made.job_id,
    "j_0123456789ab",
    other.account,
    other.keyid,
    agent.agent,
    "0",
    "tenant-1",
  ];
  const byUser = { key: user.key, user: "" };
  const byTenant = { key: service.key, user: "tenant-1" };
  const clients = [byUser, byUser, byTenant];
  const owners = [byUser, { key: service.key, user: "" }];
  const admins = [{ key: admin.key, user: "" }];
  const agents = [{ key: agent.token, user: "" }];
  world = { callers: { client: clients, owner: owners, watcher: clients, admin: admins, agent: agents }, ids };
});

afterAll(() => {
  vi.restoreAllMocks();
});

function operationOf(path: string, method: string, documented: DocumentedOperation): Operation {
  const body = documented.requestBody?.content["application/json"];
  const answers = Object.entries(documented.responses).map(
    ([status, { content }]) => [Number(status), content?.["application/json"]?.schema ?? null] as const,
  );
  const headers = Object.entries(documented.responses).map(
    ([status, answer]) =>
      [Number(status), Object.keys(answer.headers ?? {}).filter((name) => !SOMETIMES.has(name))] as const,
  );
  return {
    method,
    path,
    policy: documented["x-auth"] ?? "open",
    parameters: documented.parameters ?? [],
    body: body === undefined ? null : { schema: body.schema ?? {}, example: body.example },
    answers: new Map(answers),
    headers: new Map(headers),
  };
}

/** What is wrong with the answer; null for nothing. */
async function faultOf(operation: Operation, { path, init }: Asked): Promise<string | null> {
  const answer = await send(path, init);
  const { status } = answer;
  const isJson = answer.headers.get("Content-Type")?.includes("json") ?? false;
  if (!isJson) await answer.body?.cancel();
  const text = isJson ? await answer.text() : "";
  const shown = `${init.method} ${path} -> ${status} ${text.slice(0, 300)}`;
  if (status >= 500 && !(status === 503 && MAY_BE_UNAVAILABLE.test(operation.path))) return `5xx: ${shown}`;
  const schema = operation.answers.get(status);
  if (schema === undefined) return `undocumented status: ${shown}`;
  const lacking = operation.headers.get(status)?.filter((name) => !answer.headers.has(name)) ?? [];
  if (lacking.length > 0) return `without ${lacking.join(", ")}: ${shown}`;
  if (!isJson || schema === null) return null;
  const { valid, errors } = new Validator({ ...schema, components: document.components }, "2020-12").validate(
    JSON.parse(text),
  );
  return valid
    ? null
    : `not in the documented form (${errors.map(({ instanceLocation, error }) => `${instanceLocation} ${error}`).join("; ")}): ${shown}`;
}

describe("every documented operation", () => {
  it(
    "answers any request by a documented status in the documented form, and never by 5xx",
    async () => {
      expect(operations.length).toBeGreaterThan(20);
      const faults: string[] = [];
      for (const [n, operation] of operations.entries()) {
        const request = requestTo(operation, document.components.schemas, world);
        const property = fc.asyncProperty(request, async (made) => {
          const fault = await faultOf(operation, made);
          if (fault !== null) throw new Error(fault);
        });
        const found = await fc.check(property, { seed: seed + n, numRuns: runs, unbiased: true });
        if (found.failed)
          faults.push(`${String(found.errorInstance)} ${JSON.stringify(found.counterexample?.[0].init).slice(0, 800)}`);
      }
      expect(faults, `seed ${seed}`).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
