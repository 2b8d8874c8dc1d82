/**
 * Owns GET /models: which model files the pools' agents have.
 * Invariant: from the catalogues alone, at most 30 s old; a pool nobody serves shows none.
 */
import { z } from "@hono/zod-openapi";
import { type ModelList, modelListSchema } from "../../protocol/api/models.ts";
import { poolNameSchema } from "../../protocol/ids.ts";
import { callerAccount } from "../caller-account.ts";
import { catalogueOf } from "../catalogues.ts";
import { addRoute, jsonContent, newRouteSet, type RouteSpec } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import { parseQuery } from "../query.ts";
import { setRateHeaders, withRate } from "../rate-headers.ts";

export const modelRoutes = newRouteSet();

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max));

const querySchema = z.object({
  kind: z.string().min(1).max(64).optional().meta({ description: "Only this folder, such as `checkpoints`." }),
  pool: poolNameSchema.optional(),
  limit: whole(1, 1000).default(100).meta({ type: "integer" }),
  offset: whole(0, 100_000).default(0).meta({ type: "integer" }),
});

const list: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/models",
  aliases: ["/models/"],
  tags: ["models"],
  summary: "List the models that agents have",
  request: { query: querySchema },
  responses: { 200: jsonContent(modelListSchema, "By kind and name.") },
};

addRoute(modelRoutes, list, async (c) => {
  const query = parseQuery(querySchema, c.req.queries());
  if (!query.ok) return refusalResponse(c, query.refusal);
  // The catalogues know no keys: whether this one still holds is its account's to say.
  const drawn = await callerAccount(c).rate(c.get("caller").auth, "read", true);
  if (!drawn.ok) return refusalResponse(c, withRate(c, drawn).refusal);
  setRateHeaders(c, drawn.value, Date.now());
  const { kind, pool, limit, offset } = query.value;
  const pools = c.get("settings").POOLS.filter(({ name }) => pool === undefined || name === pool);
  const found = new Map<string, ModelList["models"][number]>();
  for (const { name } of pools)
    for (const model of (await catalogueOf(c.env, name))?.models ?? []) {
      if (kind !== undefined && model.kind !== kind) continue;
      const entry = found.get(`${model.kind}/${model.name}`) ?? { ...model, pools: [] };
      entry.pools.push(name);
      found.set(`${model.kind}/${model.name}`, entry);
    }
  const models = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, model]) => model);
  return c.json({ models: models.slice(offset, offset + limit), total: models.length, limit, offset });
});
