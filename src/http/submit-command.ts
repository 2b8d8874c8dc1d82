/**
 * Owns how create bodies become the account's submit command: body, headers, pool, seed, hashes.
 * Invariant: a body is parsed once; the fingerprint is of what the client sent, before defaults and seeds.
 */
import type { Context } from "hono";
import { draftJob, type JobDraft } from "../domain/job-request.ts";
import type { NewJob, SubmitCommand } from "../objects/contract.ts";
import { type PoolConfig, poolConfig, type Settings } from "../platform/env.ts";
import { digestHex, sha256Hex } from "../platform/hash.ts";
import { type CreateJob, createJobSchema, idempotencyKeySchema } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { canonicalText, type Json, type Parsed } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv, Caller } from "./context.ts";
import { type JsonBody, parseBy } from "./request-body.ts";

export type SubmitRoute = SubmitCommand["route"];

/** The command for one job, or why the request is not acceptable. */
export async function submitCommand(
  c: Context<AppEnv>,
  parsed: JsonBody,
  route: SubmitRoute = "jobs",
): Promise<Result<SubmitCommand, Refusal>> {
  const head = commandHead(c, route, parsed.text);
  if (!head.ok) return head;
  const job = await newJobOf(c, parsed);
  return job.ok ? ok({ ...head.value, route, jobs: [job.value] }) : job;
}

/** The command for several jobs of one body; a refusal names the item: `<list>.<n>.<field>`. */
export async function bulkCommand(
  c: Context<AppEnv>,
  text: string,
  items: { list: string; parsed: readonly Parsed[] },
  route: SubmitRoute,
): Promise<Result<SubmitCommand, Refusal>> {
  const head = commandHead(c, route, text);
  if (!head.ok) return head;
  const jobs: NewJob[] = [];
  for (const [n, parsed] of items.parsed.entries()) {
    const job = await newJobOf(c, parsed);
    if (!job.ok) return refuse(ofItem(job.refusal, `${items.list}.${n}`));
    jobs.push(job.value);
  }
  return ok({ ...head.value, route, jobs });
}

export type CommandHead = Pick<SubmitCommand, "auth" | "idempotency" | "request_id" | "traceparent">;

/** What every command that makes jobs carries. `text`: the body as it was sent. */
export function commandHead(c: Context<AppEnv>, route: string, text: string): Result<CommandHead, Refusal> {
  const caller = c.get("caller");
  const idempotency = idempotencyOf(c.req.header("Idempotency-Key"), route, caller, text);
  if (!idempotency.ok) return idempotency;
  return ok({
    auth: caller.auth,
    idempotency: idempotency.value,
    request_id: c.get("request_id"),
    traceparent: c.get("traceparent"),
  });
}

async function newJobOf(c: Context<AppEnv>, parsed: Parsed): Promise<Result<NewJob, Refusal>> {
  const caller = c.get("caller");
  const body = parseBy(createJobSchema, parsed.value);
  if (!body.ok) return body;
  const foreign = foreignUser(body.value, caller);
  if (foreign !== null) return refuse(foreign);
  const pool = poolOf(c.get("settings"), body.value.pool ?? null);
  if (!pool.ok) return pool;
  const draft = draftJob(body.value, workflowOf(parsed), {
    default_model: pool.value.default_model,
    seed: randomSeed(),
  });
  if (!draft.ok) return draft;
  return ok(newJob(body.value, draft.value, await digestHex(draft.value.workflow_text), caller));
}

function ofItem(refusal: Refusal, item: string): Refusal {
  const { field, fields } = refusal.details;
  const within = (name: unknown) => (name === undefined || name === "" ? item : `${item}.${name}`);
  const named = Array.isArray(fields) ? { fields: fields.map(within) } : {};
  return { ...refusal, details: { ...refusal.details, field: within(field), ...named } };
}

/** The graph of a body as parsed and as written; null where there is none. */
function workflowOf(parsed: Parsed): { value: Json; text: string } | null {
  const text = parsed.members.get("workflow");
  const { value } = parsed;
  if (text === undefined || typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const graph = value.workflow;
  return graph === undefined || graph === null ? null : { value: graph, text };
}

function newJob(body: CreateJob, draft: JobDraft, workflowHash: string, caller: Caller): NewJob {
  return {
    ...draft,
    template: null,
    workflow_hash: workflowHash,
    pool: body.pool ?? null,
    priority: body.priority ?? 0,
    user_id: caller.user_id ?? body.user_id ?? null,
    metadata: body.metadata ?? {},
    webhook_url: null,
    run_timeout_ms: milliseconds(body.timeout_seconds),
    queue_timeout_ms: milliseconds(body.queue_timeout_seconds),
    inputs: [],
    model_left_out: (body.pool ?? null) === null && body.model === undefined,
  };
}

function milliseconds(seconds: number | null | undefined): number | null {
  return seconds === null || seconds === undefined ? null : seconds * 1000;
}

/** A body's `user_id` names the tenant of a service key, or the account of a user key: no one else's. */
function foreignUser(body: CreateJob, caller: Caller): Refusal | null {
  const named = body.user_id;
  if (named === null || named === undefined) return null;
  const own = caller.kind === "service" ? caller.user_id : caller.account;
  return named === own ? null : refusalOf("FORBIDDEN", "user_id does not belong to this key.", { field: "user_id" });
}

/**
 * The pool a body names, else the default one. Whether the account may use it is the account's to say; where it has another
 * pool of its own, it puts that pool's model in place of this one's.
 */
function poolOf(settings: Settings, name: string | null): Result<PoolConfig, Refusal> {
  const config = poolConfig(settings, name ?? "default") ?? (name === null ? (settings.POOLS[0] ?? null) : null);
  return config === null ? refuse(refusalOf("UNKNOWN_POOL", "There is no such pool.", { field: "pool" })) : ok(config);
}

function idempotencyOf(
  header: string | undefined,
  route: string,
  caller: Caller,
  text: string,
): Result<SubmitCommand["idempotency"], Refusal> {
  if (header === undefined) return ok(null);
  const key = idempotencyKeySchema.safeParse(header);
  if (!key.success)
    return refuse(
      refusalOf("BAD_REQUEST", "Idempotency-Key must be 1 to 255 visible ASCII characters.", {
        field: "Idempotency-Key",
      }),
    );
  return ok({ key: key.data, fingerprint: sha256Hex(`${route}|${caller.account}|${canonicalText(text)}`) });
}

/** 0..2^32-1. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
