/**
 * Owns how a route is declared: one place gives it its handler, its policy and its entry in the OpenAPI document.
 * Invariant: no route of ours goes undocumented or without a policy. Bodies are not parsed here: request-body does, losslessly.
 */
import { createRoute, OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ZodType } from "zod";
import { errorSchema } from "../protocol/api/views.ts";
import { ERROR_STATUS, type ErrorCode } from "../protocol/errors.ts";
import type { AppEnv } from "./context.ts";
import { POLICIES, type RoutePolicy } from "./middleware/policies.ts";
import { ensureRateHeaders } from "./rate-headers.ts";
import { answerHeaders, type HeaderName, requestHeaders } from "./route-headers.ts";

export type RouteSet = OpenAPIHono<AppEnv>;
export type RouteHandler = (c: Context<AppEnv>) => Promise<Response> | Response;

export type RouteSpec = Omit<RouteConfig, "responses" | "security"> & {
  policy: RoutePolicy;
  responses: RouteConfig["responses"];
  /** Headers of its answers beyond those of every route of its policy, by status. */
  answerHeaders?: { readonly [status: number]: readonly HeaderName[] };
  /** Error codes beyond those every keyed route may answer. */
  errors?: readonly ErrorCode[];
  /** How a dialect spells its errors; left out: CONTRACT 1's envelope and each code's one status. */
  errorForm?: ErrorForm;
  /** Further paths with the same answer, such as with a slash at the end; not in the document. */
  aliases?: readonly string[];
  /** When it says false the request goes on to the next route of the same path. */
  when?: (c: Context<AppEnv>) => boolean;
};

/** The body of a dialect's errors, and the statuses it may answer a code with. */
export type ErrorForm = { schema: ZodType; statusesOf: (code: ErrorCode) => readonly number[] };

const NATIVE: ErrorForm = { schema: errorSchema, statusesOf: (code) => [ERROR_STATUS[code]] };

/** Where a key says how its account's buckets stand. On an open route only when one was sent. */
const RATED: ReadonlySet<RoutePolicy> = new Set(["client", "owner", "open"]);

const EVERY_ROUTE: readonly ErrorCode[] = ["INTERNAL_ERROR"];

export function newRouteSet(): RouteSet {
  return new OpenAPIHono<AppEnv>();
}

/** Adds one route: `path` in OpenAPI's spelling (`/jobs/{id}`), relative to where the set is mounted. */
export function addRoute(routes: RouteSet, spec: RouteSpec, handler: RouteHandler): void {
  const { policy, errors, errorForm, aliases, when, answerHeaders: own = {}, ...config } = spec;
  const { check, codes: policyCodes, schemes } = POLICIES[policy];
  const codes = [...EVERY_ROUTE, ...policyCodes, ...(errors ?? [])];
  const responses = { ...config.responses, ...errorResponses(codes, errorForm ?? NATIVE) };
  const route = createRoute({
    ...config,
    request: { ...config.request, ...requestHeaders(policy, config.request?.headers) },
    security: schemes.map((scheme) => ({ [scheme]: [] })),
    "x-auth": policy,
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, response]) => [
        status,
        { ...response, ...answerHeaders(policy, Number(status), own[Number(status)]) },
      ]),
    ),
  });
  routes.openAPIRegistry.registerPath(route);
  routes.on(config.method.toUpperCase(), [route.getRoutingPath(), ...(aliases ?? [])], async (c, next) => {
    if (when !== undefined && !when(c)) return next();
    const answer = (await check(c)) ?? (await handler(c));
    return RATED.has(policy) ? ensureRateHeaders(c, answer) : answer;
  });
}

function errorResponses(codes: readonly ErrorCode[], form: ErrorForm): RouteConfig["responses"] {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes)
    for (const status of form.statusesOf(code)) byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  return Object.fromEntries(
    [...byStatus].map(([status, of]) => {
      const examples = Object.fromEntries(of.map((code) => [code, { $ref: `#/components/examples/${code}` }]));
      const content = form === NATIVE ? { schema: form.schema, examples } : { schema: form.schema };
      return [status, { description: of.join(", "), content: { "application/json": content } }];
    }),
  );
}

/** Shorthand for a JSON body in a response or a request. */
export function jsonContent<S>(schema: S, description: string) {
  return { description, content: { "application/json": { schema } } };
}
