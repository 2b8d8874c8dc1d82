/**
 * Owns how a client comes to watch a job: WebSocket, server-sent events, and the tickets browsers need for both.
 * Invariant: the object behind learns who watches from our headers alone; keys and tickets never get past this file.
 */
import type { Context } from "hono";
import { EDGE_HEADERS, type ViewerIdentity, WATCH_REFUSED } from "../../objects/contract.ts";
import { progressOf } from "../../objects/locate.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { macsOf } from "../../platform/macs.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type JobId, keyIdSchema, ticketNonce } from "../../protocol/ids.ts";
import { VIEWER_SUBPROTOCOL } from "../../protocol/progress.ts";
import { callerAccount, jobIdOf } from "../caller-account.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse, UNAUTHORIZED } from "../errors.ts";
import { eventStream } from "../event-stream.ts";
import { withRate } from "../rate-headers.ts";
import { identifyWatcher, keyOf, TICKET_LIFE_S } from "../viewer-identity.ts";
import * as docs from "./streams-documents.ts";

export const streamRoutes = newRouteSet();

type Close = { code: number; reason: string };

const UPGRADE_NEEDED = refusalOf("UPGRADE_REQUIRED", "This path speaks WebSocket only.");
const STREAMS_DISABLED = refusalOf("FEATURE_DISABLED", "Streams are off at the moment.", {
  field: "WEBSOCKET_ENABLED",
});
const UNAVAILABLE = refusalOf("BACKEND_UNAVAILABLE", "The job cannot be watched at the moment. Try again.");
/** Objects look at the headers alone: the client's own URL may carry its ticket. */
const OBJECT_URL = "https://progress.invalid/";
const ACCOUNT_DISABLED = refusalOf("FORBIDDEN", "This account is disabled.", { field: "account" });
const KEY_FELL = { code: CLOSE.REVOKED, reason: "key revoked" };
const UNKNOWN_JOB = { code: CLOSE.REFUSED, reason: "unknown job" };
const DISABLED = { code: CLOSE.REFUSED, reason: "disabled" };
/**
 * What a refusal of the object is called: to server-sent events a status; to a WebSocket a close, since browsers cannot read the
 * status of a refused upgrade. A used ticket is a status to both: it is no key.
 */
const REFUSALS = new Map<number, { refusal: Refusal; close: Close | null }>([
  [WATCH_REFUSED.ticket_used, { refusal: UNAUTHORIZED, close: null }],
  [WATCH_REFUSED.key_fell, { refusal: UNAUTHORIZED, close: KEY_FELL }],
  [WATCH_REFUSED.account_disabled, { refusal: ACCOUNT_DISABLED, close: KEY_FELL }],
  [WATCH_REFUSED.unknown_job, { refusal: NOT_FOUND, close: UNKNOWN_JOB }],
  [WATCH_REFUSED.unavailable, { refusal: UNAVAILABLE, close: { code: CLOSE.GOING_AWAY, reason: "try again" } }],
]);

for (const doc of docs.socketRoutes)
  addRoute(streamRoutes, doc, async (c) => {
    if (c.req.header("Upgrade")?.toLowerCase() !== "websocket") return refusalResponse(c, UPGRADE_NEEDED);
    if (!c.get("settings").WEBSOCKET_ENABLED) return closedSocket(c, DISABLED);
    const job = jobIdOf(c);
    if (job === null) return closedSocket(c, UNKNOWN_JOB);
    const lastSeq = seqOf(c.req.query("last_seq"));
    return openSocket(c, job, "ws", lastSeq);
  });

addRoute(streamRoutes, docs.events, async (c) => {
  if (!c.get("settings").WEBSOCKET_ENABLED) return refusalResponse(c, STREAMS_DISABLED);
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const lastSeq = seqOf(c.req.header("Last-Event-ID") ?? c.req.query("last_seq"));
  const opened = await openSocket(c, job, "sse", lastSeq);
  if (!opened.webSocket) return opened;
  const stream = eventStream(opened.webSocket);
  if (c.req.method !== "HEAD") return stream;
  // Nobody will read it, and nobody would end it either.
  await stream.body?.cancel();
  return new Response(null, stream);
});

addRoute(streamRoutes, docs.ticket, async (c) => {
  const job = jobIdOf(c);
  const caller = c.get("caller");
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const found = withRate(c, await callerAccount(c).mayWatch(caller.auth, job));
  if (!found.ok) return refusalResponse(c, found.refusal);
  const { account, keyid } = keyOf(caller);
  const nonce = ticketNonce({ account, keyid: keyIdSchema.parse(keyid) }, randomBase32(12));
  const expires_s = Math.ceil(Date.now() / 1000) + TICKET_LIFE_S;
  const ticket = macsOf(c.get("settings")).signTicket({ account: caller.account, job, expires_s, nonce });
  return c.json({ ticket, expires_at: new Date(expires_s * 1000).toISOString() }, 201);
});

/** The upgrade as the job's object answered it, or a refusal. */
async function openSocket(
  c: Context<AppEnv>,
  job: JobId,
  transport: ViewerIdentity["transport"],
  lastSeq: number | null,
): Promise<Response> {
  const watcher = await identifyWatcher(c, job, transport === "sse" && lastSeq !== null);
  if (!watcher.ok) return refusalResponse(c, watcher.refusal);
  const identity: ViewerIdentity = {
    ...watcher.value,
    job,
    transport,
    previews: transport === "ws" && c.req.query("previews") === "1",
    last_seq: lastSeq,
  };
  const headers = new Headers({ Upgrade: "websocket" });
  headers.set(EDGE_HEADERS.role, "viewer");
  headers.set(EDGE_HEADERS.identity, JSON.stringify(identity));
  if (offersProtocol(c)) headers.set("Sec-WebSocket-Protocol", VIEWER_SUBPROTOCOL);
  const object = progressOf(c.env, watcher.value.account, job);
  const answer = await object.fetch(new Request(OBJECT_URL, { headers }));
  if (answer.status === 101) return answer;
  const { refusal, close } = REFUSALS.get(answer.status) ?? { refusal: UNAVAILABLE, close: null };
  return transport === "ws" && close !== null ? closedSocket(c, close) : refusalResponse(c, refusal);
}

/** An upgrade that is closed at once. */
function closedSocket(c: Context<AppEnv>, { code, reason }: Close): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.close(code, reason);
  const headers: HeadersInit = offersProtocol(c) ? { "Sec-WebSocket-Protocol": VIEWER_SUBPROTOCOL } : {};
  return new Response(null, { status: 101, webSocket: client, headers });
}

function offersProtocol(c: Context<AppEnv>): boolean {
  const offered = c.req.header("Sec-WebSocket-Protocol") ?? "";
  return offered.split(",").some((name) => name.trim() === VIEWER_SUBPROTOCOL);
}

/** Null for none, and for what is no number of ours. */
function seqOf(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}
