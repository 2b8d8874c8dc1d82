/**
 * Owns what the Worker sets on an upgrade that it passes to an object.
 * Invariant: a client's own headers of these names are stripped first.
 */
import type { AccountId, JobId, LeaseFields } from "../../protocol/ids.ts";
import type { Auth } from "./auth.ts";
import type { AgentIdentity } from "./leases.ts";

/** Headers the Worker sets on an upgrade it passes to an object, after stripping the client's own of the same names. */
export const EDGE_HEADERS = {
  /** `viewer` or `agent`. */
  role: "X-Edge-Role",
  /** JSON of ViewerIdentity, AgentSocketIdentity or ControlSocketIdentity. */
  identity: "X-Edge-Identity",
} as const;

/** The status a ProgressObject answers to one who may not watch; the Worker says it in the way of the transport. */
export const WATCH_REFUSED = {
  ticket_used: 401,
  key_fell: 403,
  account_disabled: 423,
  unknown_job: 404,
  unavailable: 503,
} as const;

export type ViewerIdentity = {
  account: AccountId;
  job: JobId;
  auth: Auth;
  /** Where the viewer's key lives (a tenant's with its parent): asked for again as long as the socket lives. */
  key: { account: AccountId; keyid: string };
  /** Nonce of the ticket it came by, good for one socket; null when it came by its key. */
  ticket: string | null;
  /** `sse`: its ticket may come again when `last_seq` is given. */
  transport: "ws" | "sse";
  previews: boolean;
  last_seq: number | null;
};
export type AgentSocketIdentity = { lease: LeaseFields; agent: AgentIdentity };
/** `keyid`: of the token that was shown; a Worker of an earlier version does not say. */
export type ControlSocketIdentity = { agent: AgentIdentity; keyid?: string | undefined };
