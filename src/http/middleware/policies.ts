/**
 * Owns who may call which kind of route: the closed list of auth policies, and the check each of them stands for.
 * Invariant: every route names exactly one policy, and its handler runs only after that policy's check let the request through.
 */
import type { Context } from "hono";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { AppEnv } from "../context.ts";
import { refusalResponse } from "../errors.ts";
import { identifyAdmin } from "./authenticate-admin.ts";
import { checkAgent, checkEnrolling } from "./authenticate-agent.ts";
import { identifyClient, identifyOwner } from "./authenticate-client.ts";

/**
 * `open`: anyone. `client`: a user key for its account, a service key for the tenant it names. `owner`: a user or service key for
 * the account it lives in. `watcher`: as `client`, or a ticket; the handler asks `viewer-identity`, which knows the job.
 * `admin`: an admin key. `bootstrap`: the one-time token; the handler compares it. `agent`: an agent's token, in its protocol.
 * `enrol`: an agent without a token, a few at a time; the handler has the pool compare its code.
 */
export const ROUTE_POLICIES = ["open", "client", "owner", "watcher", "admin", "bootstrap", "agent", "enrol"] as const;
export type RoutePolicy = (typeof ROUTE_POLICIES)[number];

type Policy = {
  /** Null: let through, the caller is in the context. A response: refused. */
  readonly check: (c: Context<AppEnv>) => Promise<Response | null>;
  /** Codes that any route under it may answer. */
  readonly codes: readonly ErrorCode[];
  /** Schemes of the OpenAPI document; none: no key needed. */
  readonly schemes: readonly string[];
};

const ANY_KEY = ["bearer", "apiKey"];
const KEYED: readonly ErrorCode[] = [
  "UNAUTHORIZED",
  "FORBIDDEN",
  "BAD_REQUEST",
  "RATE_LIMIT_EXCEEDED",
  "BACKEND_UNAVAILABLE",
];
const letThrough = async () => null;

export const POLICIES: { readonly [policy in RoutePolicy]: Policy } = {
  open: { check: letThrough, codes: [], schemes: [] },
  client: { check: (c) => asCaller(c, identifyClient), codes: KEYED, schemes: ANY_KEY },
  owner: { check: (c) => asCaller(c, identifyOwner), codes: KEYED, schemes: ANY_KEY },
  watcher: { check: letThrough, codes: KEYED, schemes: [...ANY_KEY, "ticket"] },
  admin: { check: (c) => asCaller(c, identifyAdmin), codes: KEYED, schemes: ANY_KEY },
  bootstrap: {
    check: letThrough,
    codes: ["UNAUTHORIZED", "RATE_LIMIT_EXCEEDED", "BACKEND_UNAVAILABLE"],
    schemes: ["bearer"],
  },
  agent: {
    check: checkAgent,
    codes: ["UNAUTHORIZED", "UPGRADE_REQUIRED", "RATE_LIMIT_EXCEEDED", "BACKEND_UNAVAILABLE"],
    schemes: ["bearer"],
  },
  enrol: {
    check: checkEnrolling,
    codes: ["UNAUTHORIZED", "UPGRADE_REQUIRED", "RATE_LIMIT_EXCEEDED", "BACKEND_UNAVAILABLE"],
    schemes: [],
  },
};

async function asCaller(c: Context<AppEnv>, identify: typeof identifyClient): Promise<Response | null> {
  const caller = await identify(c);
  if (!caller.ok) return refusalResponse(c, caller.refusal);
  c.set("caller", caller.value);
  return null;
}
