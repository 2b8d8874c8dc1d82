/**
 * Owns how the bench calls the product: the requests it repeats, and the agent calls that put a job into `running`.
 * Invariant: every answer is parsed; one that is not what the contract says ends the bench with its text.
 */
import { z } from "zod";
import type { StackFile } from "../dev/stack/stack-file.ts";
import { claimGrantSchema, doorbellSchema, pullAnswerSchema } from "../src/protocol/agent-api.ts";

export const SUBMIT_BODY = JSON.stringify({ prompt: "a lighthouse at dawn, oil on canvas", steps: 20, seed: 7 });

export function keyed(key: string): Record<string, string> {
  return { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
}

export function asAgent(token: string): Record<string, string> {
  return { ...keyed(token), "X-Agent-Protocol": "1" };
}

async function call<T extends z.ZodType>(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: string | null,
  schema: T,
) {
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  if (!response.ok)
    throw new Error(`${method} ${new URL(url).pathname} answered ${response.status}: ${text.slice(0, 300)}`);
  return schema.parse(JSON.parse(text));
}

const receiptSchema = z.object({ job_id: z.string(), status: z.string() });
export const submit = (base: string, key: string, body = SUBMIT_BODY) =>
  call("POST", `${base}/api/v1/jobs`, keyed(key), body, receiptSchema);

const viewSchema = z.object({ status: z.string(), progress: z.number() });
export const view = (base: string, key: string, job: string) =>
  call("GET", `${base}/api/v1/jobs/${job}`, keyed(key), null, viewSchema);

const backlogSchema = z.object({ result: z.object({ backlog_count: z.number() }) });
/** Doorbells that wait in the queue, as Cloudflare's metrics route reports them. */
export async function backlog(stack: StackFile, queueToken: string): Promise<number> {
  const url = `${stack.api_url}/queue-simulator/jobs-default/metrics`;
  return (await call("GET", url, { Authorization: `Bearer ${queueToken}` }, null, backlogSchema)).result.backlog_count;
}

/** Refs of the doorbells that wait. */
export async function pullRefs(stack: StackFile): Promise<string[]> {
  const headers = asAgent(stack.agent_token);
  const url = `${stack.api_url}/agent/v1/queue/pull`;
  const pulled = await call("POST", url, headers, '{"batch_size":100}', pullAnswerSchema);
  const messages = "messages" in pulled.result ? pulled.result.messages : pulled.result;
  return messages.map((message) => doorbellSchema.parse(JSON.parse(message.body)).ref);
}

/** Null where the claim is refused. */
export async function claim(stack: StackFile, ref: string): Promise<z.infer<typeof claimGrantSchema> | null> {
  const body = JSON.stringify({ ref, claim_id: crypto.randomUUID(), slot: 0, ahead: false });
  const headers = asAgent(stack.agent_token);
  const response = await fetch(`${stack.direct_url}/agent/v1/claims`, { method: "POST", headers, body });
  const text = await response.text();
  return response.ok ? claimGrantSchema.parse(JSON.parse(text)) : null;
}

/** Pulls doorbells and claims until one is granted. Bounded: the queue must hold a claimable one. */
export async function claimNext(stack: StackFile): Promise<z.infer<typeof claimGrantSchema>> {
  for (let tries = 0; tries < 200; tries++)
    for (const ref of await pullRefs(stack)) {
      const grant = await claim(stack, ref);
      if (grant !== null) return grant;
    }
  throw new Error("no doorbell in the queue led to a claim");
}
