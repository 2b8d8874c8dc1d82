/**
 * Owns who watches a job: by a key, or by a ticket that a key was given for browsers, which cannot send headers.
 * Invariant: a ticket opens only the job it names; its use is counted by the job's ProgressObject; a browser of an origin
 * that is not ours or listed is refused.
 */
import type { Context } from "hono";
import type { Auth } from "../objects/contract.ts";
import { macsOf } from "../platform/macs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { type AccountId, type JobId, ticketKeyOf } from "../protocol/ids.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv, Caller } from "./context.ts";
import { UNAUTHORIZED } from "./errors.ts";
import { identifyClient } from "./middleware/authenticate-client.ts";

export type Watcher = {
  account: AccountId;
  auth: Auth;
  key: { account: AccountId; keyid: string };
  ticket: string | null;
};

export const TICKET_LIFE_S = 60;
/** A stream by ticket may come back with the number it saw last until so long after the ticket was made. */
const RESUME_LIFE_S = 3_600;
/** A ticket offered as a subprotocol: the one place where a browser's WebSocket can carry it outside the URL. */
const TICKET_PROTOCOL = "ticket.";

const FOREIGN_ORIGIN = refusalOf("FORBIDDEN", "This origin may not use tickets.", { field: "Origin" });

/** Who watches, or why not. `resumes`: a stream that comes back. */
export async function identifyWatcher(
  c: Context<AppEnv>,
  job: JobId,
  resumes: boolean,
): Promise<Result<Watcher, Refusal>> {
  const ticket = offeredTicket(c);
  if (ticket !== null) return ticketWatcher(c, ticket, job, resumes);
  const caller = await identifyClient(c);
  if (!caller.ok) return caller;
  const { account, auth } = caller.value;
  return ok({ account, auth, key: keyOf(caller.value), ticket: null });
}

/** The key behind a caller, and the account it lives in: a tenant's service key lives with its parent. */
export function keyOf({ account, auth, keyid }: Caller): Watcher["key"] {
  return { account: auth.by === "parent" ? auth.parent : account, keyid };
}

function ticketWatcher(c: Context<AppEnv>, text: string, job: JobId, resumes: boolean): Result<Watcher, Refusal> {
  if (!isKnownOrigin(c)) return refuse(FOREIGN_ORIGIN);
  const fields = macsOf(c.get("settings")).verifyTicket(text);
  if (fields === null || fields.job !== job) return refuse(UNAUTHORIZED);
  const lastSecond = fields.expires_s + (resumes ? RESUME_LIFE_S - TICKET_LIFE_S : 0);
  if (Date.now() >= lastSecond * 1000) return refuse(UNAUTHORIZED);
  const key = ticketKeyOf(fields.nonce);
  return ok({ account: fields.account, auth: { by: "internal", keyid: key.keyid }, key, ticket: fields.nonce });
}

function offeredTicket(c: Context<AppEnv>): string | null {
  const offered = (c.req.header("Sec-WebSocket-Protocol") ?? "").split(",").map((name) => name.trim());
  const asProtocol = offered.find((name) => name.startsWith(TICKET_PROTOCOL));
  return asProtocol?.slice(TICKET_PROTOCOL.length) ?? c.req.query("ticket") ?? null;
}

/** No `Origin` at all is no browser. */
function isKnownOrigin(c: Context<AppEnv>): boolean {
  const origin = c.req.header("Origin");
  if (origin === undefined) return true;
  const { CORS_ORIGINS, PUBLIC_URL } = c.get("settings");
  const ours = [new URL(PUBLIC_URL).origin, new URL(c.req.url).origin];
  return ours.includes(origin) || CORS_ORIGINS.includes(origin) || CORS_ORIGINS.includes("*");
}
