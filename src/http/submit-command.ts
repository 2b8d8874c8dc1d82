/**
 * Owns how create bodies become the account's submit command: body, headers, pool, seed, hashes.
 * Invariant: a body is parsed once; the fingerprint is of what the client sent, before defaults and seeds.
 */
import type { Context } from "hono";
import type { Listing } from "../domain/catalogue.ts";
import { draftJob, type JobDraft, type WrittenWorkflow } from "../domain/job-request.ts";
import { mediaRules } from "../domain/outbound-target.ts";
import type { NewJob, SubmitCommand } from "../objects/contract.ts";
import { type PoolConfig, poolConfig, type Settings, unnamedPool } from "../platform/env.ts";
import { digestHex, sha256Hex } from "../platform/hash.ts";
import { type CreateJob, createJobSchema, idempotencyKeySchema } from "../protocol/api/jobs.ts";
import { canonicalText } from "../protocol/canonical-json.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { Parsed } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { listingsFor } from "./catalogues.ts";
import type { AppEnv, Caller } from "./context.ts";
import { type JsonBody, parseBy } from "./request-body.ts";
import { hookTarget } from "./webhook-target.ts";

/** A catalogue of this age is believed when it says no. */
const BELIEVED_MS = 1_000;

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
  if (!job.ok) return unlessReplayed(head.value, route, job.refusal);
  return ok(withJobs(c, head.value, route, parsed.text, [job.value]));
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
    if (!job.ok) return unlessReplayed(head.value, route, ofItem(job.refusal, `${items.list}.${n}`));
    jobs.push(job.value);
  }
  return ok(withJobs(c, head.value, route, text, jobs));
}

/** A body is right or wrong for ever, but what agents have changes: a request that was accepted is answered all the same. */
function unlessReplayed(head: CommandHead, route: SubmitRoute, refusal: Refusal): Result<SubmitCommand, Refusal> {
  if (head.idempotency === null || !isOfCatalogue(refusal)) return refuse(refusal);
  return ok({ ...head, route, jobs: [], unless_replayed: refusal });
}

function isOfCatalogue({ code, details }: Refusal): boolean {
  return code === "UNKNOWN_MODEL" || details.reason === "unknown_class";
}

/** Without a key the body may still be known; one with a seed of our choice never is. */
function withJobs(
  c: Context<AppEnv>,
  head: CommandHead,
  route: SubmitRoute,
  text: string,
  jobs: NewJob[],
): SubmitCommand {
  const isRepeatable = head.idempotency === null && jobs.every((job) => job.explicit_seed);
  const idempotency = isRepeatable
    ? { key: null, fingerprint: fingerprintOf(route, c.get("caller"), text) }
    : head.idempotency;
  return { ...head, idempotency, route, jobs };
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
  const webhook = webhookOf(c, body.value);
  if (!webhook.ok) return webhook;
  const draft = await draftOf(c, body.value, parsed, pool.value);
  if (!draft.ok) return draft;
  return ok({
    ...newJob(body.value, draft.value, await digestHex(draft.value.workflow_text), caller),
    webhook_url: webhook.value,
  });
}

/** A catalogue that says no is asked for anew before it is believed: an agent may just have been given what it lacked. */
async function draftOf(
  c: Context<AppEnv>,
  body: CreateJob,
  parsed: Parsed,
  pool: PoolConfig,
): Promise<Result<JobDraft, Refusal>> {
  const { BUDGET, PUBLIC_URL, R2_ENDPOINT } = c.get("settings");
  const choices = { default_model: pool.default_model, seed: randomSeed() };
  const against = (listings: readonly Listing[]) =>
    draftJob(body, workflowOf(parsed), choices, {
      budget: BUDGET,
      allowed_nodes: pool.allow_nodes ?? [],
      listings,
      media: mediaRules([PUBLIC_URL, R2_ENDPOINT]),
    });
  // Parameters without a model name nothing that could be missing: no catalogue is asked on their way.
  const names = parsed.members.has("workflow") || body.model !== undefined;
  const draft = against(names ? await listingsFor(c, body.pool ?? null) : []);
  const isUnknown = !draft.ok && isOfCatalogue(draft.refusal);
  return isUnknown ? against(await listingsFor(c, body.pool ?? null, BELIEVED_MS)) : draft;
}

function ofItem(refusal: Refusal, item: string): Refusal {
  const { field, fields } = refusal.details;
  const within = (name: unknown) => (name === undefined || name === "" ? item : `${item}.${name}`);
  const named = Array.isArray(fields) ? { fields: fields.map(within) } : {};
  return { ...refusal, details: { ...refusal.details, field: within(field), ...named } };
}

/** The graph of a body as parsed and as written; null where there is none. */
function workflowOf(parsed: Parsed): WrittenWorkflow | null {
  const text = parsed.members.get("workflow");
  const { value } = parsed;
  if (text === undefined || typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const graph = value.workflow;
  return graph === undefined || graph === null
    ? null
    : { value: graph, text, inputs: parsed.members.get("inputs") ?? null };
}

/** Short, for it is kept with every job: a collision makes a worse guess of a time, no more. */
function shapeHash(shape: string): string {
  return sha256Hex(shape).slice(0, 16);
}

function newJob(body: CreateJob, draft: JobDraft, workflowHash: string, caller: Caller): NewJob {
  return {
    ...draft,
    shape: shapeHash(draft.shape),
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

/** The URL that is told of the job's end, as it will be called. */
function webhookOf(c: Context<AppEnv>, { webhook_url }: CreateJob): Result<string | null, Refusal> {
  return webhook_url === null || webhook_url === undefined ? ok(null) : hookTarget(c, webhook_url, "webhook_url");
}

function milliseconds(seconds: number | null | undefined): number | null {
  return seconds === null || seconds === undefined ? null : seconds * 1000;
}

/** A body's `user_id` names the tenant of a service key, or the account of a user key: no one else's. */
function foreignUser(body: CreateJob, caller: Caller): Refusal | null {
  const named = body.user_id;
  if (named === null || named === undefined) return null;
  const own = caller.kind === "service" ? caller.user_id : caller.account;
  return named === own
    ? null
    : refusalOf("FORBIDDEN", "The user_id does not belong to this key.", { field: "user_id" });
}

/**
 * The pool a body names, else the default one. Whether the account may use it is the account's to say; where it has another
 * pool of its own, it puts that pool's model in place of this one's.
 */
function poolOf(settings: Settings, name: string | null): Result<PoolConfig, Refusal> {
  const config = name === null ? unnamedPool(settings) : poolConfig(settings, name);
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
  return ok({ key: key.data, fingerprint: fingerprintOf(route, caller, text) });
}

/** Of what the client sent, before defaults and seeds. */
function fingerprintOf(route: string, caller: Caller, text: string): string {
  return sha256Hex(`${route}|${caller.account}|${canonicalText(text)}`);
}

/** 0..2^32-1. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
