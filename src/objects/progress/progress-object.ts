/**
 * Owns the live sockets of one job: its viewers and the agent that runs it. The object's name is `<account>:<job>`.
 * Invariant: nothing here decides about a job; it has no storage and no timer, and may be lost at any moment without harm.
 */
import { DurableObject } from "cloudflare:workers";
import { type Env, type Settings, settingsOf } from "../../platform/env.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count, flushSoon, hold } from "../../platform/metrics.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { type AccountId, accountIdSchema, type JobId, jobIdSchema } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { PING, PONG, VIEWER_SUBPROTOCOL } from "../../protocol/progress.ts";
import { isTerminal } from "../../protocol/states.ts";
import { flushCounts } from "../account/counters.ts";
import {
  EDGE_HEADERS,
  type LiveProgress,
  type ProgressRpc,
  type Snapshot,
  type ViewerIdentity,
  WATCH_REFUSED,
} from "../contract.ts";
import { accountOf, metricsSinks } from "../locate.ts";
import { answerClose, closeQuietly } from "../sockets.ts";
import { Access, type Admission } from "./access.ts";
import { AgentFrames } from "./agent-frames.ts";
import { AgentLink } from "./agent-link.ts";
import { agentIdentityOf, attachmentOf, viewerIdentityOf } from "./attachment.ts";
import { Audience } from "./audience.ts";
import { endFrames } from "./end-frames.ts";
import { FrameWriter } from "./frame-writer.ts";
import { Picture } from "./picture.ts";
import { PresentAttempt } from "./present-attempt.ts";
import { type Carrier, Tickets } from "./tickets.ts";
import { type Outgoing, type Viewer, Viewers } from "./viewers.ts";

/** Viewers of a job are counted for so long without news of them. */
const VIEWERS_TTL_MS = 3_600_000;
/** The runtime holds 32,768 sockets of an object: viewers must never keep the agent's out. */
const MAX_VIEWERS = 20_000;

const REFUSED: { [why in Extract<Admission, { ok: false }>["why"]]: number } = {
  unknown: WATCH_REFUSED.unknown_job,
  revoked: WATCH_REFUSED.key_fell,
  disabled: WATCH_REFUSED.account_disabled,
  unavailable: WATCH_REFUSED.unavailable,
};

export class ProgressObject extends DurableObject<Env> implements ProgressRpc {
  readonly #account: AccountId;
  readonly #job: JobId;
  readonly #settings: Settings;
  readonly #access: Access;
  readonly #viewers: Viewers;
  readonly #agents = new AgentLink();
  readonly #picture = new Picture();
  readonly #writer: FrameWriter;
  readonly #frames: AgentFrames;
  readonly #tickets = new Tickets();
  readonly #audience: Audience;
  readonly #present: PresentAttempt;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const [account, job] = (ctx.id.name ?? "").split(":");
    this.#account = accountIdSchema.parse(account);
    this.#job = jobIdSchema.parse(job);
    this.#settings = settingsOf(env);
    this.#access = new Access(env, this.#account, this.#job, this.#settings.AUTH_ENABLED);
    this.#viewers = new Viewers(ctx, this.#access);
    this.#writer = new FrameWriter(this.#job);
    this.#present = new PresentAttempt({
      picture: this.#picture,
      viewers: this.#viewers,
      agents: this.#agents,
      read: () => this.#readSnapshot(),
    });
    this.#audience = new Audience(this.#agents, this.#viewers);
    this.#frames = new AgentFrames(this.#picture, this.#writer, this.#viewers);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    this.#recall();
    count("comfy_edge_progress_starts_total");
    const flushed = flushCounts(env, Date.now());
    if (flushed) ctx.waitUntil(flushed.catch(() => undefined));
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
    const identity = request.headers.get(EDGE_HEADERS.identity);
    if (request.headers.get(EDGE_HEADERS.role) === "agent") return this.#attachAgent(identity);
    // The Worker passes on no other protocol.
    return this.#attachViewer(viewerIdentityOf(identity), request.headers.has("Sec-WebSocket-Protocol"));
  }

  async publish(record: JobRecord): Promise<void> {
    await this.#learn(record);
  }

  async pushCancel(attempt: number): Promise<boolean> {
    this.#present.stop(attempt);
    return this.#agents.tell(attempt, { type: "cancel" });
  }

  async live(): Promise<LiveProgress | null> {
    this.#audience.polled(Date.now());
    return this.#picture.live;
  }

  async recheckKeys(): Promise<void> {
    this.#access.keyFell();
    await this.#viewers.recheckAll();
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const agent = this.#agents.of(socket);
    if (agent === null) {
      // A viewer has nothing to say but `ping`, which the runtime answers.
      this.#viewers.remove(socket);
      closeQuietly(socket, CLOSE.REFUSED, "only ping is expected");
      return;
    }
    if (agent.kept.done || !agent.kept.accepted) return;
    const present = await this.#present.is(agent.kept.lease.attempt);
    if (present === "no") this.#agents.refuse(agent);
    if (present !== "yes") return;
    await this.#frames.take(agent, message);
    this.#agents.keep(agent);
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    answerClose(socket, code);
    await this.#gone(socket);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.#gone(socket);
  }

  // --- viewers ---------------------------------------------------------------------------------------------------------

  async #attachViewer(identity: ViewerIdentity, hasProtocol: boolean): Promise<Response> {
    if (this.#viewers.count >= MAX_VIEWERS) return new Response(null, { status: WATCH_REFUSED.unavailable });
    if (!this.#takeTicket(identity)) return new Response(null, { status: WATCH_REFUSED.ticket_used });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    // Attached first: what happens from here on reaches it, as part of its snapshot or after it.
    const viewer = this.#viewers.add(server, this.#attachmentFor(identity), false);
    this.#writer.resume(identity.last_seq);
    const admission = await this.#access.admit(identity);
    if (!admission.ok) {
      this.#viewers.close(viewer, { code: CLOSE.REFUSED, reason: admission.why });
      return new Response(null, { status: REFUSED[admission.why] });
    }
    viewer.kept.checked_at = Date.now();
    await this.#learn(admission.record);
    await this.#present.verify();
    await this.#greet(viewer, this.#picture.record ?? admission.record);
    this.#audience.changed();
    this.#reportViewers();
    const headers: HeadersInit = hasProtocol ? { "Sec-WebSocket-Protocol": VIEWER_SUBPROTOCOL } : {};
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  /** False when the ticket was used before. A stream that comes back with the number it saw last takes over its old socket. */
  #takeTicket(identity: ViewerIdentity): boolean {
    if (!this.#tickets.take(identity)) return false;
    if (identity.ticket !== null)
      for (const viewer of this.#viewers.withTicket(identity.ticket))
        this.#viewers.close(viewer, { code: CLOSE.REPLACED, reason: "replaced" });
    return true;
  }

  #attachmentFor({ key, ticket, transport, previews }: ViewerIdentity): Viewer["kept"] {
    const now = Date.now();
    const told = { since: now, checked_at: now, seq: this.#writer.last, revision: 0 };
    return { role: "viewer", key, ticket, transport, previews, spent: [], ...told };
  }

  /** The snapshot: `status` first, then what is going on, or the whole end. */
  async #greet(viewer: Viewer, record: JobRecord): Promise<void> {
    const items = isTerminal(record.status) ? await this.#endItems(record) : this.#presentItems(record);
    viewer.ready = true;
    this.#viewers.send(viewer, items);
    this.#viewers.keepOne(viewer, this.#writer.last);
  }

  /** Takes in what the account said and tells the viewers what is new. Resolves when all of them were told. */
  async #learn(record: JobRecord, lease?: Snapshot["lease"]): Promise<void> {
    const known = this.#picture.record?.revision ?? 0;
    if (!this.#picture.learn(record, lease)) return;
    this.#agents.refuseBefore(record.attempt);
    if (!this.#viewers.isWatched()) return;
    if (isTerminal(record.status)) await this.#viewers.broadcast(await this.#endItems(record));
    else if (record.revision > known) await this.#viewers.broadcast([this.#statusItem(record)]);
    this.#viewers.keep(this.#writer.last);
  }

  #statusItem(record: JobRecord): Outgoing {
    return { body: this.#writer.text(this.#picture.statusFrame(record)), revision: record.revision };
  }

  #presentItems(record: JobRecord): Outgoing[] {
    const status = this.#statusItem(record);
    const progress = this.#picture.progressFrame(record);
    return progress === null ? [status] : [status, { body: this.#writer.text(progress) }];
  }

  async #endItems(record: JobRecord): Promise<Outgoing[]> {
    const frames = await endFrames(this.#settings, record);
    const status = this.#statusItem(record);
    return [
      status,
      ...frames.map((frame): Outgoing => {
        const body = this.#writer.text(frame);
        return frame.type === "done" ? { body, close: { code: CLOSE.DONE, reason: "done" } } : { body };
      }),
    ];
  }

  // --- agents ----------------------------------------------------------------------------------------------------------

  async #attachAgent(header: string | null): Promise<Response> {
    const { lease } = agentIdentityOf(header);
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    const agent = this.#agents.add(server, lease, this.#writer.last);
    const present = await this.#present.is(lease.attempt);
    if (present === "unknown") this.#agents.dismiss(agent, { code: CLOSE.GOING_AWAY, reason: "try again" });
    else if (present === "no") this.#agents.refuse(agent);
    else {
      this.#agents.accept(agent);
      this.#audience.met(agent);
      if (this.#present.mustStop(lease.attempt)) this.#agents.tell(lease.attempt, { type: "cancel" });
    }
    return new Response(null, { status: 101, webSocket: client });
  }

  /** False when the account could not be asked. */
  async #readSnapshot(): Promise<boolean> {
    try {
      const snapshot = await accountOf(this.env, this.#account).snapshot(this.#job);
      if (snapshot !== null) await this.#learn(snapshot.record, snapshot.lease);
      return true;
    } catch (error) {
      logLine("warn", "snapshot_not_read", { job: this.#job, cause: causeOf(error) });
      return false;
    }
  }

  /** For the figures alone: how many watch now. */
  #reportViewers(): void {
    const values = { active_connections: this.#viewers.count };
    hold(`viewers:${this.#account}:${this.#job}`, { values, ttl_ms: VIEWERS_TTL_MS });
    flushSoon(this.ctx, metricsSinks(this.env), Date.now());
  }

  async #gone(socket: WebSocket): Promise<void> {
    const viewer = this.#viewers.remove(socket);
    if (viewer !== null) {
      this.#reportViewers();
      this.#tickets.handOn(viewer, this.#carriers());
      this.#audience.changed();
    }
    const lost = this.#agents.gone(socket);
    if (lost === null) return;
    // Frames were numbered on the agent's socket; from here on the viewers' sockets keep the number.
    this.#viewers.keep(this.#writer.last);
    const { record } = this.#picture;
    if (record !== null && isTerminal(record.status)) return;
    try {
      await accountOf(this.env, this.#account).agentLost(lost);
    } catch (error) {
      // A hint: the lease runs out by itself.
      logLine("warn", "agent_lost_not_reported", { job: this.#job, cause: causeOf(error) });
    }
  }

  *#carriers(): Iterable<Carrier> {
    yield* this.#agents.open();
    yield* this.#viewers.open();
  }

  /** After a start with empty memory: what the sockets carried through it. */
  #recall(): void {
    for (const socket of this.ctx.getWebSockets()) {
      const kept = attachmentOf(socket);
      if (kept === null || socket.readyState !== WebSocket.OPEN) continue;
      this.#writer.recall(kept.seq);
      this.#tickets.recall(kept);
      if (kept.role === "viewer") {
        this.#viewers.add(socket, kept, true);
        this.#picture.recall(kept.revision);
      } else {
        this.#agents.restore(socket, kept);
        this.#picture.recall(0, { attempt: kept.lease.attempt, progress: kept.progress, detail: null });
      }
    }
  }
}
