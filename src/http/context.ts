/**
 * Owns the types of what one request carries through the middleware.
 * Invariant: a handler reads the caller only after an auth policy has put it there.
 */
import type { AgentIdentity, Auth, Hold } from "../objects/contract.ts";
import type { Env, Settings } from "../platform/env.ts";
import type { AccountId, KeyKind } from "../protocol/ids.ts";

/** Who calls, after MAC (and, for a tenant, after the parent verified the key). Revocation is decided in the object. */
export type Caller = {
  kind: KeyKind;
  /** The account whose jobs are meant: the key's own, or the tenant's under a service key. */
  account: AccountId;
  auth: Auth;
  keyid: string;
  /** `X-User-ID` where it was sent, else null. */
  user_id: string | null;
  region: string | null;
};

export type AppEnv = {
  Bindings: Env;
  Variables: {
    settings: Settings;
    request_id: string;
    traceparent: string | null;
    /** Set by the policy `client` of `documented-route`, or by `authenticateAdmin`. */
    caller: Caller;
    /** Set by `authenticateAgent`. */
    agent: AgentIdentity;
    /** What kept that agent from new work when its pool was last asked, at most 30 s ago. */
    agent_hold: Hold | null;
    /** For the log line alone: the job a request is about, and the code it was refused with. */
    job: string;
    refused: string;
  };
};
