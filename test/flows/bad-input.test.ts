/**
 * Bad input to the whole system: the contract's envelope each time, and nothing stored.
 */

import { existsSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { devVars } from "../../dev/dev-vars.ts";
import { macsFrom } from "../../src/platform/macs.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { type Answer, type Client, envelopeSchema, picture } from "../support/client.ts";
import { graph } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { mistyped } from "../support/mistyped.ts";

let flow: FlowStack;
let client: Client;
beforeAll(async () => {
  flow = await startFlowStack({ agents: 0 });
  client = await flow.newClient("pro");
});
afterAll(() => flow.stop());

function refused(answer: Answer, status: number, code: string, field?: string) {
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status, body: { error: { code } } });
  const { error } = envelopeSchema.parse(answer.body);
  expect(answer.headers.get("X-Request-ID")).toBe(error.request_id);
  if (field !== undefined) expect(error.details).toMatchObject({ field });
}
const post = (body: NonNullable<RequestInit["body"]>, init: RequestInit = {}) =>
  client.call("POST", "/api/v1/jobs", { body, ...init });
const json = (body: unknown) => post(JSON.stringify(body));
const ELEVEN_MB = `{"prompt":"${"x".repeat(11_000_000)}"}`;

it("refuses what is not a job in the contract's envelope and stores nothing", async () => {
  refused(await json(picture({ steps: "twenty" })), 422, "VALIDATION_ERROR", "steps");
  refused(await json(picture({ stepps: 20 })), 422, "VALIDATION_ERROR", "stepps");
  refused(await json({}), 422, "MISSING_SOURCE");
  refused(await json({ ...picture(), workflow: JSON.parse(graph("1", 1)) }), 422, "AMBIGUOUS_SOURCE");
  refused(await json({ workflow: {} }), 422, "INVALID_WORKFLOW");
  refused(
    await json({ workflow: { nodes: [{ id: 1, type: "KSampler" }], links: [], version: 0.4 } }),
    422,
    "INVALID_WORKFLOW",
  );
  refused(await post('{"prompt": "x"'), 400, "BAD_REQUEST");
  refused(await post(""), 400, "BAD_REQUEST");
  refused(await post('{"prompt": "x", "prompt": "y"}'), 400, "BAD_REQUEST");
  refused(
    await post("prompt=x", { headers: { "Content-Type": "application/x-www-form-urlencoded" } }),
    415,
    "UNSUPPORTED_MEDIA",
  );
  refused(await client.call("PATCH", "/api/v1/jobs"), 405, "METHOD_NOT_ALLOWED");
  refused(await client.call("GET", "/api/v1/nothing"), 404, "NOT_FOUND");
  expect(await client.jobsStored()).toBe(0);
});

it("refuses an 11 MB body, announced or in chunks", async () => {
  refused(await post(ELEVEN_MB), 413, "REQUEST_TOO_LARGE");
  const chunks = new ReadableStream<Uint8Array>({
    start(controller) {
      const bytes = new TextEncoder().encode(ELEVEN_MB);
      for (let at = 0; at < bytes.length; at += 500_000) controller.enqueue(bytes.subarray(at, at + 500_000));
      controller.close();
    },
  });
  refused(await post(chunks, { duplex: "half" }), 413, "REQUEST_TOO_LARGE");
  expect(await client.jobsStored()).toBe(0);
});

it("B17: takes no body whose length lies for a job", async () => {
  const { host, hostname, port } = new URL(flow.file.api_url);
  const body = '{"prompt": "a body of 32 bytes"}';
  const said = (lengths: string) =>
    new Promise<string>((resolve, reject) => {
      const head = `POST /api/v1/jobs HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${flow.file.user_key}\r\nContent-Type: application/json\r\n`;
      const socket = connect(Number(port), hostname, () => socket.end(`${head}${lengths}\r\n\r\n${body}`));
      let text = "";
      socket.on("data", (data) => {
        text += String(data);
      });
      socket.on("close", () => resolve(text.split("\r\n")[0] ?? ""));
      socket.on("error", reject);
    });
  for (const lengths of ["5", "500", "-5", "32\r\nContent-Length: 5", "32\r\nTransfer-Encoding: chunked"])
    expect([lengths, await said(`Content-Length: ${lengths}`)]).toEqual([lengths, "HTTP/1.1 400 Bad Request"]);
  expect(await flow.client.jobsStored()).toBe(0);
});

it("answers a foreign job id byte for byte like an unknown one", async () => {
  const { job_id } = await flow.client.submit(picture());
  const blank = (answer: Answer) =>
    JSON.stringify(answer.body)
      .replaceAll(/"(request_id|timestamp)":"[^"]+"/g, "")
      .replaceAll(/j_[0-9a-f]{12}/g, "j_");
  for (const [method, path] of [
    ["GET", ""],
    ["DELETE", ""],
    ["POST", "/cancel"],
  ] as const) {
    const foreign = await client.call(method, `/api/v1/jobs/${job_id}${path}`);
    const unknown = await client.call(method, `/api/v1/jobs/j_0123456789ab${path}`);
    refused(foreign, 404, "NOT_FOUND");
    expect(blank(foreign)).toBe(blank(unknown));
  }
  expect(await flow.client.job(job_id)).toMatchObject({ status: "queued" });
  refused(await client.call("GET", "/api/v1/jobs/not-an-id"), 404, "NOT_FOUND");
});

it("refuses a missing and a junk key alike, and a junk key wakes no object", async () => {
  const awake = () => {
    const folder = join(flow.dataDir, "state/do/comfy-edge-AccountObject");
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".sqlite")) : [];
  };
  const before = awake();
  const real = flow.file.user_key;
  // A well-formed key of an account that does not exist, with a MAC that is not ours.
  const forged = real.replace(/^(ce_user_)[a-z0-9]{16}/, "$1zzzzzzzzzzzzzzzz");
  for (const key of ["junk", "ce_user_x", forged, mistyped(real)]) {
    refused(
      await client.call("GET", "/api/v1/jobs", { headers: { Authorization: `Bearer ${key}` } }),
      401,
      "UNAUTHORIZED",
    );
    refused(
      await post(JSON.stringify(picture()), { headers: { "X-API-Key": key, Authorization: "" } }),
      401,
      "UNAUTHORIZED",
    );
  }
  const keyless = await fetch(`${flow.file.api_url}/api/v1/jobs`);
  expect(keyless.status).toBe(401);
  envelopeSchema.parse(await keyless.json());
  expect(awake()).toEqual(before);
  // The same account under a MAC of ours does wake its object: the sight above is not blind.
  const signed = macsFrom(devVars().KEY_MAC_SECRET ?? "").signKey({
    kind: "user",
    account: "z".repeat(16),
    keyid: keyIdSchema.parse("z".repeat(8)),
    secret: "z".repeat(52),
  });
  refused(
    await client.call("GET", "/api/v1/jobs", { headers: { Authorization: `Bearer ${signed}` } }),
    401,
    "UNAUTHORIZED",
  );
  expect(awake()).toHaveLength(before.length + 1);
});

it("A crowd that submits at once, half of it hanging up, gets an answer each for the rest: one job for each, and none is lost", async () => {
  const crowd = await flow.newClient("internal");
  const gone: AbortController[] = [];
  const all = Array.from({ length: 80 }, (_, n) => {
    const hangUp = new AbortController();
    if (n % 2 === 1) gone.push(hangUp);
    const body = JSON.stringify({ prompt: `number ${n}`, metadata: { n: String(n) } });
    const init = { body, headers: { "Idempotency-Key": `crowd-${n}` }, signal: hangUp.signal };
    return crowd.call("POST", "/api/v1/jobs", init).catch(() => null);
  });
  // The first answer says that calls are under way.
  await Promise.race(all);
  for (const one of gone) one.abort();
  const answers = await Promise.all(all);
  const stayed = answers.flatMap((answer, n) => (n % 2 === 0 ? [answer?.status] : []));
  expect(stayed).toEqual(stayed.map(() => 202));
  const ids = answers.flatMap((answer) => (answer ? [acceptedId(answer)] : []));
  expect(new Set(ids).size).toBe(ids.length);
  const repeated = await Promise.all(
    answers.map((answer, n) => {
      const body = JSON.stringify({ prompt: `number ${n}`, metadata: { n: String(n) } });
      const again = crowd.call("POST", "/api/v1/jobs", { body, headers: { "Idempotency-Key": `crowd-${n}` } });
      return again.then((second) => [second.status, answer === null || acceptedId(answer) === acceptedId(second)]);
    }),
  );
  for (const [status, isSame] of repeated) expect([[200, 202].includes(Number(status)), isSame]).toEqual([true, true]);
});

const acceptedId = (answer: Answer) => z.object({ job_id: z.string() }).parse(answer.body).job_id;
