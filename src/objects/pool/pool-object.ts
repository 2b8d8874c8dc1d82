/**
 * Owns what is known about one pool's agents: who is admitted, their control sockets, and the list of ready jobs.
 * Invariant: nothing here is needed for a job to run or end; without its list, work still flows through the queue.
 */
import { DurableObject } from "cloudflare:workers";
import { reconnectWithinMs } from "../../domain/reconnects.ts";
import { type Env, settingsOf } from "../../platform/env.ts";
import { logLine } from "../../platform/log.ts";
import { planFlush } from "../../platform/metrics.ts";
import type { ControlUp } from "../../protocol/agent-api.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type PoolName, parseRef, poolNameSchema } from "../../protocol/ids.ts";
import { PING, PONG } from "../../protocol/progress.ts";
import { assertNever, ok, type Result, refuse } from "../../protocol/result.ts";
import { openPoolDatabase, type PoolDatabase } from "../../storage/pool/database.ts";
import {
  type AgentDetail,
  type AgentLease,
  type AgentRow,
  type CatalogueState,
  EDGE_HEADERS,
  type Enrol,
  type Enrolled,
  type Hold,
  type KeyProof,
  type KnownAgent,
  type NewAgent,
  type NewCode,
  type Offer,
  type PoolRpc,
  type PoolSetup,
  type PoolStatus,
} from "../contract.ts";
import { metricsSinks } from "../locate.ts";
import { answerClose, closeQuietly } from "../sockets.ts";
import { controlIdentityOf, idOf, type Present } from "./attachment.ts";
import { CatalogueOfPool } from "./catalogue.ts";
import { controlUpOf } from "./control-message.ts";
import { Dispatch } from "./dispatch.ts";
import { takeFigures } from "./figures.ts";
import { FOREVER, Holds } from "./holds.ts";
import { Presence, sendDown } from "./presence.ts";
import { Rests } from "./rests.ts";
import { Roster } from "./roster.ts";

const UNKNOWN_AGENT = refusalOf("NOT_FOUND", "There is no agent of this name in the pool.");
/** Capabilities whose loaded models are remembered: what was forgotten is read again. */
const MAX_LOADED_KNOWN = 1_000;

export class PoolObject extends DurableObject<Env> implements PoolRpc {
  readonly #pool: PoolName;
  readonly #database: PoolDatabase;
  readonly #holds: Holds;
  readonly #rests = new Rests();
  readonly #presence: Presence;
  readonly #roster: Roster;
  readonly #dispatch: Dispatch;
  readonly #catalogue: CatalogueOfPool;
  readonly #loaded = new Map<string, ReadonlySet<string>>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    settingsOf(env);
    this.#pool = poolNameSchema.parse(ctx.id.name);
    this.#database = openPoolDatabase(ctx.storage);
    this.#holds = new Holds(this.#database);
    this.#presence = new Presence(
      (agent) => this.#mayWork(agent),
      (hash) => this.#loadedBy(hash),
    );
    this.#roster = new Roster(this.#pool, this.#database, this.#holds, this.#presence);
    this.#dispatch = new Dispatch(this.#presence);
    this.#catalogue = new CatalogueOfPool({
      pool: this.#pool,
      bucket: env.ARTIFACTS,
      documentOf: (hash) => this.#database.toRead()?.capabilities.get(hash) ?? null,
    });
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    this.#presence.recall(ctx.getWebSockets());
  }

  // --- tokens ----------------------------------------------------------------------------------------------------------

  async verifyToken(proof: KeyProof): Promise<Result<KnownAgent, Refusal>> {
    return this.#roster.verify(proof, Date.now());
  }

  async createAgent(agent: NewAgent, code?: NewCode): Promise<AgentRow> {
    return this.#roster.create(agent, code ?? null, Date.now());
  }

  async openCode(agent: string, code: NewCode): Promise<Result<AgentRow, Refusal>> {
    return this.#roster.openCode(agent, code, Date.now());
  }

  async enrol(command: Enrol): Promise<Result<Enrolled, Refusal>> {
    const enrolled = this.#roster.enrol(command, Date.now());
    if (enrolled.ok && enrolled.value.is_first) this.#dismiss(enrolled.value.row.agent, "token replaced");
    return enrolled;
  }

  async listAgents(): Promise<AgentRow[]> {
    return this.#roster.list(Date.now());
  }

  async agentDetail(agent: string): Promise<Result<AgentDetail, Refusal>> {
    return this.#roster.detail(agent, Date.now());
  }

  async setup(model: string, after: string, limit: number): Promise<PoolSetup> {
    return this.#roster.setup({ model, after, limit }, Date.now());
  }

  async revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>> {
    const revoked = this.#roster.revoke(agent, Date.now());
    if (!revoked.ok) return revoked;
    this.#dismiss(agent, "token revoked");
    return ok({ ...revoked.value, online: false });
  }

  /** Its token is no longer good: its sockets go at once. */
  #dismiss(agent: string, reason: string): void {
    for (const gone of this.#presence.dismiss(agent, CLOSE.REVOKED, reason)) this.#dispatch.gone(gone);
  }

  // --- who gets no new work --------------------------------------------------------------------------------------------

  async holdAgents(agent: string | null, hold: Hold | null, own = false): Promise<Result<Hold | null, Refusal>> {
    if (agent !== null && !this.#roster.knows(agent)) return refuse(UNKNOWN_AGENT);
    if (hold) this.#holds.set(agent, hold, Date.now(), own);
    else this.#holds.clear(agent, own);
    for (const each of agent === null ? this.#presence.online() : [agent]) this.#tellHold(each);
    this.#dispatch.run();
    return ok(hold);
  }

  async giveBackAll(agent: string): Promise<Result<AgentLease[], Refusal>> {
    if (!this.#roster.knows(agent)) return refuse(UNKNOWN_AGENT);
    const leases = this.#roster.leases(agent);
    for (const { ref } of leases) this.#presence.tell(agent, { type: "give_back", ref, now: true });
    return ok(leases);
  }

  async leaseLost(agent: string): Promise<void> {
    const known = this.#roster.leaseLost(agent, Date.now());
    if (known && this.#rests.leaseLost(agent, known.before, Date.now())) this.#presence.tell(agent, { type: "rest" });
  }

  #mayWork(agent: string): boolean {
    const now = Date.now();
    return this.#holds.over(agent, now) === null && !this.#rests.rests(agent, now);
  }

  #tellHold(agent: string): void {
    const hold = this.#holds.over(agent, Date.now());
    this.#presence.tell(agent, hold ? { type: hold.kind, until: hold.until } : { type: "resume", until: null });
  }

  /** Until when nobody here gets new work by an operator's word; null: somebody may, or nobody is here. */
  #pausedUntil(now: number): number | null {
    const pool = this.#holds.pool(now);
    const holds = pool ? [pool] : this.#presence.online().map((agent) => this.#holds.agent(agent, now));
    const untils = holds.flatMap((hold) => (hold ? [hold.until ?? FOREVER] : []));
    return untils.length > 0 && untils.length === holds.length ? Math.min(...untils) : null;
  }

  // --- the ready list --------------------------------------------------------------------------------------------------

  async offer(offers: Offer[]): Promise<void> {
    this.#dropSilent();
    this.#dispatch.add(offers);
    this.#planFlush();
  }

  async withdraw(refs: string[]): Promise<void> {
    this.#dispatch.withdraw(refs);
  }

  async catalogue(): Promise<CatalogueState> {
    return this.#catalogue.state(this.#presence.capabilities(), Date.now());
  }

  async status(): Promise<PoolStatus> {
    this.#dropSilent();
    const paused_until = this.#pausedUntil(Date.now());
    return { ...this.#presence.standing(), ready: this.#dispatch.ready, paused_until };
  }

  // --- control sockets -------------------------------------------------------------------------------------------------

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
    const { agent, keyid } = controlIdentityOf(request.headers.get(EDGE_HEADERS.identity));
    // The Worker remembers a yes for 30 s: a socket must not outlive a revocation, or a newer token, that it slipped past.
    const row = this.#roster.admitted(agent.agent);
    if (!row || (keyid !== undefined && keyid !== row.keyid)) return new Response(null, { status: 401 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    this.#presence.add(server, { agent: agent.agent, name: row.name });
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const present = this.#presence.of(socket);
    if (present === null) return;
    const up = controlUpOf(message);
    if (up === "too_big") {
      closeQuietly(socket, CLOSE.TOO_BIG, "not of the protocol");
      return;
    }
    if (up === null)
      logLine("warn", "control_message_unknown", { agent: present.kept.agent, length: String(message).length });
    else this.#take(present, up);
    this.#planFlush();
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    answerClose(socket, code);
    this.#gone(socket);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.#gone(socket);
  }

  #dropSilent(): void {
    for (const gone of this.#presence.dropSilent(this.ctx, Date.now())) this.#dispatch.gone(gone);
  }

  #gone(socket: WebSocket): void {
    const gone = this.#presence.remove(socket);
    if (gone !== null) this.#dispatch.gone(gone);
  }

  #take(present: Present, up: ControlUp): void {
    const id = idOf(present.kept);
    if (up.type === "hello") this.#greet(present, up);
    else if (id === null) logLine("warn", "control_message_before_hello", { agent: present.kept.agent });
    else if (up.type === "slot") {
      this.#rests.reported(present.kept.agent, up.state);
      this.#noteTrouble(present.kept.agent, up);
      this.#dispatch.changed(this.#presence.report(present, up, Date.now()), id);
    } else if (up.type === "metrics") takeFigures(this.#pool, id, up);
    else if (up.type === "declined") this.#dispatch.declined(up.ref, id);
    else if (up.type === "known?") {
      const refs = up.refs.filter((ref) => this.#dispatch.isTaken(ref));
      sendDown(present.socket, { type: "taken", refs });
    } else assertNever(up);
  }

  #noteTrouble(agent: string, { state, reason, error }: Extract<ControlUp, { type: "slot" }>): void {
    const now = Date.now();
    if (error) this.#roster.trouble(agent, error.text, parseRef(error.ref)?.fields.job ?? null, now);
    else if (state === "sick" && reason !== undefined) this.#roster.trouble(agent, reason, null, now);
  }

  #greet(present: Present, hello: Extract<ControlUp, { type: "hello" }>): void {
    const { capability_hash: hash, capability } = hello;
    if (capability !== undefined) {
      const { capabilities } = this.#database.toWrite();
      if (!capabilities.put(hash, capability, this.#presence.capabilities(), Date.now()))
        logLine("warn", "capability_too_large", { agent: present.kept.agent });
      if (this.#loaded.size > MAX_LOADED_KNOWN) this.#loaded.clear();
      this.#loaded.set(hash, new Set(capability.loaded_models));
    } else if (!this.#database.toRead()?.capabilities.has(hash)) {
      sendDown(present.socket, { type: "want_capability" });
    }
    if (!settingsOf(this.env).OFFERS_ENABLED) sendDown(present.socket, { type: "offers", enabled: false });
    const within_ms = reconnectWithinMs(Math.max(this.#roster.size, this.#presence.counts().online));
    if (within_ms !== null) sendDown(present.socket, { type: "reconnect", within_ms });
    const hold = this.#holds.over(present.kept.agent, Date.now());
    if (hold) sendDown(present.socket, { type: hold.kind, until: hold.until });
    // It may not have heard that its hold was ended.
    else if (hello.slots.some(({ state }) => state === "paused"))
      sendDown(present.socket, { type: "resume", until: null });
    if (this.#rests.came(present.kept.agent, hello.slots, Date.now())) sendDown(present.socket, { type: "rest" });
    const changes = this.#presence.greet(present, hello, Date.now());
    const id = `${present.kept.agent}/${hello.instance}`;
    for (const change of changes) this.#dispatch.changed(change, id);
    this.#dispatch.came(id);
  }

  #loadedBy(hash: string): ReadonlySet<string> {
    const known = this.#loaded.get(hash);
    if (known) return known;
    const loaded = new Set(this.#database.toRead()?.capabilities.get(hash)?.loaded_models ?? []);
    this.#loaded.set(hash, loaded);
    return loaded;
  }

  #planFlush(): void {
    planFlush(this.ctx, () => metricsSinks(this.env), Date.now());
  }
}
