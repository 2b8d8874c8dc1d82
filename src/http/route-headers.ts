/**
 * Owns what the OpenAPI document says of headers: who is meant, what every answer carries, what some carry besides.
 * Invariant: an answer carries each header it is said to (a test asks); where one may be left out its description says when.
 */
import { z } from "@hono/zod-openapi";
import type { RoutePolicy } from "./middleware/policies.ts";

const text = (description: string, example: string) => ({ description, schema: { type: "string" as const }, example });
const whole = (description: string, example: number) => ({
  description,
  schema: { type: "integer" as const },
  example,
});

const HEADERS = {
  "X-Request-ID": text("Names this request; yours, where you sent one.", "3f0c6c1e-6a52-4f6e-9d0e-0c4a7a1f5b11"),
  "X-API-Version": text("Version of the API.", "1.0.0"),
  "X-RateLimit-Limit": whole("Requests a minute of this kind; 999999 for no limit.", 20),
  "X-RateLimit-Remaining": whole("How many are left at once.", 19),
  "X-RateLimit-Reset": whole("When all are there again, in seconds of Unix time.", 1_792_497_660),
  RateLimit: text("The same in the words of the IETF draft: name, left, seconds to the reset.", '"submit";r=19;t=60'),
  "RateLimit-Policy": text("Name, limit and window in seconds.", '"submit";q=20;w=60'),
  "Retry-After": whole("Whole seconds to wait; `error.retry_after` is the same.", 5),
  "WWW-Authenticate": text("How to send a key.", 'Bearer realm="comfy-edge"'),
  Location: text("Path of the job, or address of the file.", "/api/v1/jobs/j_68f6a1b2c3d4"),
  "Idempotent-Replayed": text("`true`: nothing was made; the answer is about what an earlier request made.", "true"),
  "Preference-Applied": text("The wait that was granted; only where one was asked for.", "wait=10"),
  ETag: text("For `If-None-Match`.", '"3-0"'),
  Link: text("The next page; only where there is one.", '<https://api.example.com/api/v1/jobs?cursor=…>; rel="next"'),
} as const;
export type HeaderName = keyof typeof HEADERS;

const RATE: readonly HeaderName[] = [
  "X-RateLimit-Limit",
  "X-RateLimit-Remaining",
  "X-RateLimit-Reset",
  "RateLimit",
  "RateLimit-Policy",
];
/** Where a key says how its account's buckets stand. */
const RATED: ReadonlySet<RoutePolicy> = new Set(["client", "owner"]);
/** Where a service key names its tenant. */
const FOR_TENANTS: ReadonlySet<RoutePolicy> = new Set(["client", "watcher"]);

const tenantHeader = z.object({
  "X-User-ID": z.string().optional().meta({
    description: "With a service key, and then compulsory: the user of yours it acts for, `[A-Za-z0-9._:@-]{1,128}`.",
  }),
});

/** For `components.headers`. */
export function headerComponents() {
  return Object.entries(HEADERS);
}

/** References to the headers of one answer, `own` among them; none for an upgrade. */
export function answerHeaders(policy: RoutePolicy, status: number, own: readonly HeaderName[] = []) {
  if (status === 101) return {};
  const names: HeaderName[] = ["X-Request-ID", "X-API-Version", ...own];
  if (RATED.has(policy) && status < 500 && status !== 401) names.push(...RATE);
  if (status === 429 || status === 503) names.push("Retry-After");
  if (status === 401 && policy !== "agent" && policy !== "enrol") names.push("WWW-Authenticate");
  return { headers: Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }])) };
}

/** The headers of a request under this policy: the route's own, and whom a service key acts for. */
export function requestHeaders(policy: RoutePolicy, own: unknown) {
  if (!FOR_TENANTS.has(policy)) return {};
  return { headers: own instanceof z.ZodObject ? tenantHeader.extend(own.shape) : tenantHeader };
}
