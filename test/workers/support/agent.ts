/**
 * Owns how a test speaks to the Worker as a gpu-agent does: a real token, the protocol header, leases.
 * Invariant: each agent is made over the admin API, as an operator makes one.
 */

import { type Env, settingsOf } from "../../../src/platform/env.ts";
import { randomBase32 } from "../../../src/platform/hash.ts";
import { macsOf } from "../../../src/platform/macs.ts";
import { claimGrantSchema } from "../../../src/protocol/agent-api.ts";
import { type AccountId, accountIdSchema, jobIdSchema, poolNameSchema } from "../../../src/protocol/ids.ts";
import { bindings } from "./account.ts";
import { operator, post, send, submitted } from "./client.ts";

export type TestAgent = { agent: string; token: string };

export async function newAgent(name = "box"): Promise<TestAgent> {
  const admin = await operator();
  const answer = await send(
    "/admin/agents",
    post(admin.key, JSON.stringify({ pool: "default", name, credential: "token" })),
  );
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json<TestAgent>();
}

/** One call of the agent API. `lease` goes into X-Lease; `headers` win. */
export function call(
  token: string,
  path: string,
  body: unknown,
  { lease, headers = {}, over = {} }: { lease?: string; headers?: Record<string, string>; over?: Partial<Env> } = {},
): Promise<Response> {
  const base = {
    Authorization: `Bearer ${token}`,
    "X-Agent-Protocol": "1",
    "Content-Type": "application/json",
    ...(lease === undefined ? {} : { "X-Lease": lease }),
  };
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return send(`/agent/v1${path}`, { method: "POST", headers: { ...base, ...headers }, body: text }, over);
}

export function signedRef(account: AccountId, job: string, attempt = 1, pool = "default"): string {
  const fields = { account, job: jobIdSchema.parse(job), attempt, pool: poolNameSchema.parse(pool) };
  return macsOf(settingsOf(bindings)).signRef(fields);
}

export function claimBody(ref: string, over: object = {}) {
  return { ref, claim_id: randomBase32(20), slot: 0, ahead: false, ...over };
}

/** A job of the account, submitted and claimed: the grant as the agent receives it. */
export async function claimed(owner: { account: AccountId; key: string }, agent: TestAgent) {
  const { job_id } = await submitted(owner.key, { prompt: "a lighthouse", seed: 7 });
  const answer = await call(agent.token, "/claims", claimBody(signedRef(owner.account, job_id)));
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  return claimGrantSchema.parse(await answer.json());
}

/** A lease under a good MAC that was never given. */
export function lostLease(): string {
  return macsOf(settingsOf(bindings)).signLease({
    account: accountIdSchema.parse("u000000000000000"),
    job: jobIdSchema.parse("j_000000000000"),
    attempt: 1,
    nonce: "0".repeat(20),
  });
}

/** A file as an agent announces it. */
export async function fileOf(bytes: Uint8Array<ArrayBuffer>, name = "ComfyUI_00001_.png", content_type = "image/png") {
  const hash = async (algorithm: string) =>
    Array.from(new Uint8Array(await crypto.subtle.digest(algorithm, bytes)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("");
  const [md5, sha256] = await Promise.all([hash("MD5"), hash("SHA-256")]);
  return { name, type: "image" as const, content_type, size_bytes: bytes.length, md5, sha256 };
}

/** The same file as a manifest names it. */
export function entryOf(file: Awaited<ReturnType<typeof fileOf>>, key: string) {
  return { ...file, key, node_id: "9", width: 8, height: 8, seed: null, text: null };
}
