/**
 * Owns the look at the whole installation that an operator takes: its parts, then each pool with what its agents have.
 * Invariant: changes nothing; one call looks at one pool at most, and whatever is not well says what to do about it.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { AgentSetup, PoolSetup } from "../../objects/contract.ts";
import { poolOf } from "../../objects/locate.ts";
import type { PoolConfig } from "../../platform/env.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { optionalBodyBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, jsonContent, newRouteSet, type RouteSpec } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import { amount, stepBody, stepSchemaOf, stepShape, total } from "../ops-step.ts";
import { systemState } from "../system-state.ts";

const AGENTS_AT_ONCE = 100;

const verdict = z.enum(["ok", "warn", "fail"]);
const checkSchema = z.object({ name: z.string(), verdict, finding: z.string(), to_do: z.string().nullable() });
const agentSetupSchema = z.object({
  agent: z.string(),
  name: z.string(),
  version: z.string(),
  held: z.boolean(),
  slots: amount,
  sick: amount,
  comfyui_version: z.string().nullable(),
  gpus: z.array(z.object({ name: z.string(), vram_mb: amount })),
  models: amount,
  models_bytes: amount.nullable().meta({ description: "Of those whose size the agent can see; null: none." }),
  has_model: z.boolean().meta({ description: "Whether it has the pool's default model." }),
  custom_nodes: z.array(z.string()),
  disk_free_bytes: amount.nullable(),
});
const setupSchema = z
  .object({
    ...stepShape,
    pool: z.string().nullable().meta({ description: "What this step looked at; null: the installation's own parts." }),
    checks: z.array(checkSchema),
    agents: z.array(agentSetupSchema).meta({ description: "Those that are online." }),
  })
  .meta({ id: "Setup" });
type Setup = z.infer<typeof setupSchema>;
type Check = z.infer<typeof checkSchema>;

/** `pool:<name>:<the agent seen last>` */
const stepSchema = stepSchemaOf(/^pool:[a-z][a-z0-9]{0,15}:(ag_[0-9a-z]{12})?$/);
const verifySetup: RouteSpec = {
  policy: "admin",
  tags: ["ops"],
  method: "post",
  path: "/ops/verify-setup",
  summary: "Look at the installation, one step at a time",
  description:
    "First directory, queue and bucket, then pool by pool what its agents have: models and their size, custom nodes, GPUs, disk. Reads only, dry run or not. What one box is missing `gpu-agent doctor` says there.",
  ...stepBody(stepSchema),
  responses: { 200: jsonContent(setupSchema, "What this step saw.") },
};

export const adminSetupRoutes = newRouteSet();

addRoute(adminSetupRoutes, verifySetup, async (c) => {
  const body = await optionalBodyBy(c, stepSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { cursor, dry_run } = body.value;
  const pools = c.get("settings").POOLS;
  if (cursor === null) {
    const [first] = pools;
    return c.json({
      dry_run,
      next_cursor: first ? `pool:${first.name}:` : null,
      ...(await partsSeen(c)),
    } satisfies Setup);
  }
  const [, name, after = ""] = cursor.split(":");
  const at = pools.findIndex((pool) => pool.name === name);
  const pool = pools[at];
  // A pool that went between two steps has nothing to show.
  if (pool === undefined)
    return c.json({ dry_run, next_cursor: null, pool: null, checks: [], agents: [] } satisfies Setup);
  const following = pools[at + 1];
  const onwards = following ? `pool:${following.name}:` : null;
  const setup = await setupOf(c, pool, after);
  if (setup === null) {
    const checks = [wrong("fail", "pool", "does not answer", "look at the log for pool_unanswered, and try again")];
    return c.json({ dry_run, next_cursor: onwards, pool: pool.name, checks, agents: [] } satisfies Setup);
  }
  const last = setup.agents.at(-1);
  const next_cursor = setup.more && last ? `pool:${pool.name}:${last.agent}` : onwards;
  const { agents } = setup;
  return c.json({
    dry_run,
    next_cursor,
    pool: pool.name,
    checks: checksOf(setup, pool.default_model),
    agents,
  } satisfies Setup);
});

/** Null: the pool's object does not answer. */
async function setupOf(c: Context<AppEnv>, pool: PoolConfig, after: string): Promise<PoolSetup | null> {
  try {
    return await poolOf(c.env, pool.name).setup(pool.default_model, after, AGENTS_AT_ONCE);
  } catch (error) {
    logLine("error", "pool_unanswered", { request_id: c.get("request_id"), pool: pool.name, cause: causeOf(error) });
    return null;
  }
}

type Seen = Pick<Setup, "pool" | "checks" | "agents">;

const ADVICE = {
  directory: "look at the D1 binding DIRECTORY and its migrations; users and audit are not listed meanwhile",
  queue:
    "look at QUEUE_API_TOKEN, QUEUE_API_BASE and the queues' ids in POOLS; npm run provision -- --dry-run shows them",
  bucket: "look at the R2 binding ARTIFACTS; npm run provision -- --dry-run shows what it needs",
} as const;

async function partsSeen(c: Context<AppEnv>): Promise<Seen> {
  const { checks } = await systemState(c.env);
  const parts = (["directory", "queue", "bucket"] as const).map((part) =>
    checks[part] === "ok" ? well(part, "answers") : wrong("fail", part, "does not answer", ADVICE[part]),
  );
  return { pool: null, checks: parts, agents: [] };
}

function checksOf({ admitted, online, agents }: PoolSetup, model: string): Check[] {
  const those = agents.length === 0 ? [] : [heldCheck(agents), modelCheck(agents, model), sickCheck(agents)];
  return [onlineCheck(admitted, online), ...those];
}

function onlineCheck(admitted: number, online: number): Check {
  const finding = `${online} of ${admitted} agents online`;
  if (online > 0) return well("agents", finding);
  const advice =
    admitted === 0 ? "admit one: POST /admin/agents" : "start one; gpu-agent doctor says there what is wrong";
  return wrong("fail", "agents", finding, advice);
}

function heldCheck(agents: AgentSetup[]): Check {
  const held = agents.filter((agent) => agent.held).length;
  const finding = `${held} of ${agents.length} held from new work`;
  if (held === 0) return well("holds", finding);
  const advice = "resume them, or the pool, when they are to work again";
  return wrong(held === agents.length ? "fail" : "warn", "holds", finding, advice);
}

function modelCheck(agents: AgentSetup[], model: string): Check {
  const have = agents.filter(({ has_model }) => has_model).length;
  const finding = `${have} of ${agents.length} have ${model}, the pool's default model`;
  if (have === agents.length) return well("default_model", finding);
  const advice = "agents of a pool should have the same models: put it there, or name another in POOLS";
  return wrong(have === 0 ? "fail" : "warn", "default_model", finding, advice);
}

function sickCheck(agents: AgentSetup[]): Check {
  const sick = total(agents.map((agent) => agent.sick));
  const slots = total(agents.map((agent) => agent.slots));
  const finding = `${sick} of ${slots} slots sick`;
  if (sick === 0) return well("slots", finding);
  const advice = "GET /admin/agents/{agent} says why, gpu-agent doctor on the box what to do";
  return wrong(sick === slots ? "fail" : "warn", "slots", finding, advice);
}

function well(name: string, finding: string): Check {
  return { name, verdict: "ok", finding, to_do: null };
}

function wrong(verdict: "warn" | "fail", name: string, finding: string, to_do: string): Check {
  return { name, verdict, finding, to_do };
}
