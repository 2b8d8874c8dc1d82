/**
 * Owns docs/LIMITS.md: limits and guarantees, every number from the code or configuration that enforces it.
 * Invariant: a number of a limit is never written here, but for the day that an idempotency key lives.
 */
import { z } from "zod";
import { MAX_READY, OFFER_ANSWER_MS, OVERTAKEN_MS } from "../../src/domain/ready-list.ts";
import { MAX_ATTEMPTS } from "../../src/domain/retry-policy.ts";
import { FEWEST_RUNS } from "../../src/domain/typical-runs.ts";
import { DEFAULT_LIMIT, MAX_LIMIT } from "../../src/http/list-query.ts";
import { MAX_BODY_BYTES } from "../../src/http/request-body.ts";
import type { Settings } from "../../src/platform/env.ts";
import { CODE_TTL_MS } from "../../src/protocol/agent-self.ts";
import * as jobs from "../../src/protocol/api/jobs.ts";
import { MAX_DEPTH } from "../../src/protocol/json.ts";
import type { Role } from "../../src/protocol/roles.ts";
import { MAX_NODES, MAX_WORKFLOW_BYTES } from "../../src/protocol/workflow-graph.ts";
import { type Configuration, SECRET_NAMES } from "./configuration.ts";
import { SETTING_WORDS } from "./settings-words.ts";
import { duration, number, table } from "./tables.ts";

export function limitsPage(config: Configuration): string {
  return [
    HEAD,
    roles(config),
    requests(config.settings),
    times(config),
    TURNS,
    GUARANTEES,
    CLIENTS,
    settingsTable(config),
    VERSIONS,
  ]
    .join("\n\n")
    .concat("\n");
}

const HEAD = `# Limits and guarantees

Made by \`npm run generate\` from the code and \`wrangler.toml\`: change those, not this page. A deployment may set other numbers;
\`GET /api/v1/usage\` tells an account its own.`;

function roles({ settings, edge }: Configuration): string {
  const limits: readonly [string, (role: Role) => string][] = [
    ["jobs a day (UTC)", (role) => orNone(role.daily)],
    ["unfinished jobs at once", (role) => number(role.max_active)],
    ["of these with an agent at once; more are held, not refused", (role) => number(role.max_running)],
    ["submits a minute (burst)", (role) => perMinute(role.submits_per_minute, role.submit_burst)],
    ["reads a minute; a ticket and a redelivery count as one", (role) => orNone(role.reads_per_minute)],
    ["images of one job, jobs of one batch", (role) => number(role.batch)],
    ["life of a signed link", (role) => duration(role.signed_url_s * 1000)],
    ["results and job records kept", (role) => `${role.retention_days} days`],
  ];
  const names = Object.keys(settings.ROLES) as (keyof Settings["ROLES"])[];
  const rows = limits.map(([words, of]) => [words, ...names.map((name) => of(settings.ROLES[name]))]);
  return `## Roles

${table(["", ...names], rows)}

\`tenant\` is every user that a service key names in \`X-User-ID\`. Over a limit the answer is 429 with \`Retry-After\`:
\`RATE_LIMIT_EXCEEDED\` (too fast), \`CONCURRENCY_LIMIT\` (too many unfinished), \`QUOTA_EXCEEDED\` (the day is used up). The day begins
at 00:00 UTC. A job counts for the day it was submitted on, unless it ended before it started; a refused request and a replay do not.
When a pool's backlog is over ${number(settings.MAX_QUEUED)} jobs, submits to it are shed: 429 \`QUEUE_FULL\`.
An address that sends no valid key may ask ${number(edge.limit)} times in ${edge.period} s. A code that enrols an agent is good once, for ${duration(CODE_TTL_MS)}.`;
}

function requests(settings: Settings): string {
  const rows = [
    ["JSON body", `${number(MAX_BODY_BYTES)} bytes, counted as they come`, "413 `REQUEST_TOO_LARGE`"],
    ["nesting", `${MAX_DEPTH} levels, no key twice`, "400 `BAD_REQUEST`"],
    ["workflow", `1 to ${number(MAX_NODES)} nodes`, "422 `INVALID_WORKFLOW`"],
    ["workflow text", `${number(MAX_WORKFLOW_BYTES)} bytes`, "413 `WORKFLOW_TOO_LARGE`"],
    ["integers of a workflow", "-2^63 to 2^64-1, carried exactly", "422 `INVALID_WORKFLOW`"],
    ["images a workflow may ask for", `${number(settings.BUDGET.images)} a job`, "422 `BUDGET_EXCEEDED`"],
    ["pixels of one image", number(settings.BUDGET.pixels), "422 `BUDGET_EXCEEDED`"],
    ["pixels of all images of a job", number(settings.BUDGET.total_pixels), "422 `BUDGET_EXCEEDED`"],
    ["steps of one sampler", number(settings.BUDGET.steps), "422 `BUDGET_EXCEEDED`"],
    ["media of a job", `${jobs.MAX_MEDIA}`, "422"],
    [
      "jobs of one bulk request",
      `${jobs.MAX_BULK}, and no more than the role's batch, burst, unfinished jobs and jobs a day`,
      "422",
    ],
    ["metadata", `${jobs.MAX_METADATA} pairs of text`, "422"],
    ["`timeout_seconds`", `1 to ${number(jobs.MAX_TIMEOUT_S)}`, "422"],
    ["`queue_timeout_seconds`", `1 to ${number(jobs.MAX_QUEUE_TIMEOUT_S)}`, "422"],
    ["page of a list", `1 to ${MAX_LIMIT}, ${DEFAULT_LIMIT} when left out`, "400"],
    ["`Idempotency-Key`", "1 to 255 visible ASCII characters", "400"],
  ];
  return `## What a request may hold

${table(["", "at most", "else"], rows)}

**Parameters** (else 422 \`VALIDATION_ERROR\` naming the field)

${parameters()}`;
}

type Bound = {
  type?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  multipleOf?: number;
  default?: unknown;
  enum?: unknown[];
  anyOf?: Bound[];
};

function parameters(): string {
  const schema = z.toJSONSchema(z.object(jobs.parameterShape), { io: "input" });
  const rows = Object.entries(schema.properties ?? {}).map(([name, given]) => {
    // zod's own output: its type leaves a schema open to be a boolean.
    const property = given as Bound;
    const bound = property.anyOf?.find(({ type }) => type !== "null") ?? property;
    return [`\`${name}\``, inWords(bound), property.default === undefined ? "" : `\`${String(property.default)}\``];
  });
  return table(["field", "values", "left out"], rows);
}

function inWords(bound: Bound): string {
  if (bound.enum !== undefined) return `one of ${bound.enum.length} names (\`/openapi.json\` lists them)`;
  const [low, high] = [bound.minimum ?? bound.minLength, bound.maximum ?? bound.maxLength];
  const range = high === undefined ? "" : `${low === undefined ? "up to" : `${number(low)} to`} ${number(high)}`;
  const step = bound.multipleOf === undefined ? "" : `, multiples of ${bound.multipleOf}`;
  return `${range}${bound.type === "string" ? " characters" : step}`;
}

function times({ settings }: Configuration): string {
  const rows = [
    ["a job may run", duration(settings.RUN_TIMEOUT_MS), "`failed`, `JOB_TIMEOUT`"],
    ["a job may wait", duration(settings.QUEUE_TIMEOUT_MS), "`expired`, `QUEUE_TIMEOUT`"],
    ["attempts that are charged", `${MAX_ATTEMPTS}`, "`failed`"],
    [
      "an agent that falls silent holds a job",
      `${duration(settings.LEASE_MS)}; ${duration(settings.LEASE_SOCKET_GRACE_MS)} once its progress socket broke`,
      "another agent gets it",
    ],
    ["a cancel waits for the agent", duration(settings.CANCEL_GRACE_MS), "`canceled` without it"],
    ["a request waits for a job's end", duration(settings.MAX_WAIT_MS), "202 with the job"],
    ["an `Idempotency-Key`, or a body without one where that was asked for, is remembered", "24 h", "a new job"],
    ["a webhook is tried", duration(settings.WEBHOOK_RETRY_SPAN_MS), "given up, listed for operators"],
    ["a new key lives", `${settings.KEY_TTL_DAYS} days`, "401"],
  ];
  return `## Times

${table(["", "at most", "then"], rows)}`;
}

const TURNS = `## Turns

The agents of a pool are shared by GPU seconds, not by jobs: while several accounts have jobs that wait, each gets GPU seconds in
proportion to the number of its jobs that may be with an agent at once. An agent that is free takes a job of the account that had
least; of an account first the highest priority, then the oldest.

- **No queue of another delays you by more than one job.** Once an agent is free, at most one job of each other account that
  waits goes before your first, however many they have, and each further one comes within your share. What runs is not interrupted.
- **Models that are loaded may change the order for ${duration(OVERTAKEN_MS)}.** An agent takes a job whose models it has in memory
  before one it would have to load for. A job that was passed by for ${duration(OVERTAKEN_MS)} is passed by no more. No agent stays idle for it.
- An offer that an agent does not answer within ${duration(OFFER_ANSWER_MS)} goes to the next. Turns are kept for ${number(MAX_READY)} waiting jobs of a pool; what is
  beyond, and everything where a pool has just started anew, reaches agents through the queue, first come, first served.
- \`waiting.eta_ms\` is known once ${FEWEST_RUNS} runs of a workflow's like ended well, and is a guess.`;

const GUARANTEES = `## What you can rely on

- **202 means kept.** The job is stored with its idempotency key and its place in the quota in one transaction. Whatever dies
  afterwards, it reaches an end: \`succeeded\`, \`failed\`, \`canceled\` or \`expired\`.
- **One key, one job.** The same \`Idempotency-Key\` and body is the same job, however many requests arrive at once; another body
  is 422. Without a key nothing is taken for a repetition, unless operators asked for it for the account; a body whose seed we
  choose never is.
- **Limits are exact.** Of any number of simultaneous submits exactly the free places are taken.
- **A cancel counts from its answer.** No result of that job ever appears, and a running agent is told to stop its GPU.
- **Results are whole.** Files show only after the bucket has reported every size and MD5 of the manifest.
- **An attempt that was lost is charged, one that was handed back is not.** A job whose agent dies is given to another.
- **Numbers are yours.** Integers of a workflow reach ComfyUI digit for digit; a seed we chose is in \`params\`.
- **What is not yours does not exist.** Jobs of others and jobs that never were are the same 404.

Nothing here promises how long a job takes: that is the GPU's. A queued job says in \`waiting\` why it waits.`;

const CLIENTS = `## How to call

- Send an \`Idempotency-Key\` with every submit and repeat it on a retry: 5xx, 429 and broken connections are then safe to retry.
- Back off exponentially with jitter, to 60 s at most, and never before \`Retry-After\`.
- Poll every 2 to 5 s with jitter and \`If-None-Match\`, or watch: WebSocket, server-sent events, webhooks, \`Prefer: wait\`.
- Reconnect sockets with a growing pause and \`last_seq\`.
- Fetch results at once, or keep the artifact's path instead of its signed link.
- Branch on \`error.code\`. Ignore members you do not know.`;

/** Told in a table of their own, or no single value. */
const STRUCTURED = ["POOLS", "ROLES", "BUDGET"];

function settingsTable({ settings, written }: Configuration): string {
  const names = Object.keys(settings).filter((name) => !SECRET_NAMES.includes(name));
  const rows = names.map((name) => {
    const words = SETTING_WORDS[name];
    if (words === undefined && !STRUCTURED.includes(name))
      throw new Error(`describe the setting ${name} in dev/generate/settings-words.ts`);
    const value = written[name] ?? Reflect.get(settings, name);
    const shown = STRUCTURED.includes(name) ? "" : `\`${String(value)}\``;
    return [`\`${name}\``, shown === "``" ? "" : shown, words ?? STRUCTURED_WORDS[name] ?? ""];
  });
  return `## Settings

Variables of the Worker. They are checked together when it starts; one that is missing or wrong stops the start by name.

${table(["name", "as delivered", "meaning"], rows)}

Secrets: ${SECRET_NAMES.map((name) => `\`${name}\``).join(", ")}.`;
}

const STRUCTURED_WORDS: { readonly [name: string]: string } = {
  POOLS: "JSON: the pools with their queues, policy and default model.",
  ROLES: 'JSON: overrides of single limits, such as `{"free": {"max_active": 10}}`.',
  BUDGET: 'JSON: overrides of the largest work a workflow may ask for, such as `{"steps": 500}`.',
};

const VERSIONS = `## Versions

Members are added, never renamed or removed, and statuses and codes stay as they are, within \`/api/v1\` and \`/v1\`. What breaks a
client comes under a new path, and the old one is announced with \`Deprecation\` and \`Sunset\` headers six months before it goes.`;

function orNone(limit: number | null): string {
  return limit === null ? "no limit" : number(limit);
}

function perMinute(limit: number | null, burst: number | null): string {
  return limit === null ? "no limit" : `${number(limit)} (${number(burst ?? limit)})`;
}
