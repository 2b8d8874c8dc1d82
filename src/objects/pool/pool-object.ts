/**
 * Owns what is known about one pool's agents: their token hashes, their control sockets, and the list of ready jobs.
 * Invariant: nothing here is needed for a job to run or end; without its list, work still flows through the queue.
 */
import { DurableObject } from "cloudflare:workers";
import { type Env, settingsOf } from "../../platform/env.ts";
import { equalInConstantTime } from "../../platform/hash.ts";
import { logLine } from "../../platform/log.ts";
import { planFlush } from "../../platform/metrics.ts";
import { type ControlUp, controlUpSchema } from "../../protocol/agent-api.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type PoolName, poolNameSchema } from "../../protocol/ids.ts";
import { PING, PONG } from "../../protocol/progress.ts";
import { assertNever, ok, type Result, refuse } from "../../protocol/result.ts";
import { openPoolDatabase, type PoolDatabase } from "../../storage/pool/database.ts";
import {
  type AgentDetail,
  type AgentRow,
  type CatalogueState,
  EDGE_HEADERS,
  type Hold,
  type KeyProof,
  type KnownAgent,
  type NewAgent,
  type Offer,
  type PoolRpc,
  type PoolStatus,
} from "../contract.ts";
import { metricsSinks } from "../locate.ts";
import { answerClose, closeQuietly } from "../sockets.ts";
import { controlIdentityOf } from "./attachment.ts";
import { CatalogueOfPool } from "./catalogue.ts";
import { Dispatch } from "./dispatch.ts";
import { takeFigures } from "./figures.ts";
import { Holds } from "./holds.ts";
import { idOf, Presence, type Present, sendDown } from "./presence.ts";
import { processOf } from "./process-view.ts";
import { Rests } from "./rests.ts";

const UNAUTHORIZED = refusalOf("UNAUTHORIZED", "A valid agent token is required.");
const UNKNOWN_AGENT = refusalOf("NOT_FOUND", "There is no agent of this name in the pool.");
/** A hold without an end, as a time. */
const FOREVER = Date.UTC(9999, 11, 31);
/** A hello may carry a whole capability; anything larger is not of the protocol. */
const MAX_MESSAGE_CHARS = 8_388_608;

export class PoolObject extends DurableObject<Env> implements PoolRpc {
  readonly #pool: PoolName;
  readonly #database: PoolDatabase;
  readonly #holds: Holds;
  readonly #rests = new Rests();
  readonly #presence: Presence;
  readonly #dispatch: Dispatch;
  readonly #catalogue: CatalogueOfPool;
  readonly #loaded = new Map<string, ReadonlySet<string>>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    settingsOf(env);
    this.#pool = poolNameSchema.parse(ctx.id.name);
    this.#database = openPoolDatabase(ctx.storage);
    this.#holds = new Holds(this.#database);
    this.#presence = new Presence((agent) => this.#mayWork(agent));
    this.#dispatch = new Dispatch(this.#presence, (hash) => this.#loadedBy(hash));
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
    const row = this.#database.toRead()?.agents.byKeyId(proof.keyid);
    if (!row || row.revoked_at !== null || !equalInConstantTime(row.secret_sha256, proof.secret_sha256))
      return refuse(UNAUTHORIZED);
    const hold = this.#holds.over(row.agent, Date.now());
    return ok({ identity: { agent: row.agent, name: row.name, pool: this.#pool }, hold });
  }

  async createAgent({ agent, name, keyid, secret_sha256 }: NewAgent): Promise<AgentRow> {
    const { agents } = this.#database.toWrite();
    const created_at = agents.get(agent)?.created_at ?? Date.now();
    agents.put({ agent, name, keyid, secret_sha256, created_at });
    return this.#rowOf({ agent, name, created_at, revoked_at: null });
  }

  async listAgents(): Promise<AgentRow[]> {
    return (this.#database.toRead()?.agents.all() ?? []).map((row) => this.#rowOf(row));
  }

  async agentDetail(agent: string): Promise<Result<AgentDetail, Refusal>> {
    const tables = this.#database.toRead();
    const row = tables?.agents.get(agent);
    if (!row) return refuse(UNKNOWN_AGENT);
    const capabilityOf = (hash: string) => tables?.capabilities.get(hash) ?? null;
    return ok({ ...this.#rowOf(row), processes: this.#presence.processesOf(agent).map(processOf(capabilityOf)) });
  }

  async revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>> {
    const agents = this.#database.toRead()?.agents;
    agents?.revoke(agent, Date.now());
    const row = agents?.get(agent);
    if (!row) return refuse(UNKNOWN_AGENT);
    for (const gone of this.#presence.dismiss(agent, CLOSE.REVOKED, "token revoked")) this.#dispatch.gone(gone);
    return ok(this.#rowOf(row));
  }

  #rowOf({ agent, name, created_at, revoked_at }: Omit<AgentRow, "online" | "hold">): AgentRow {
    const hold = this.#holds.agent(agent, Date.now());
    return { agent, name, created_at, revoked_at, online: this.#presence.isOnline(agent), hold };
  }

  // --- who gets no new work --------------------------------------------------------------------------------------------

  async holdAgents(agent: string | null, hold: Hold | null): Promise<Result<Hold | null, Refusal>> {
    if (agent !== null && !this.#database.toRead()?.agents.get(agent)) return refuse(UNKNOWN_AGENT);
    if (hold) this.#holds.set(agent, hold, Date.now());
    else this.#holds.clear(agent);
    for (const each of agent === null ? this.#presence.online() : [agent]) this.#tellHold(each);
    this.#dispatch.run();
    return ok(hold);
  }

  async leaseLost(agent: string): Promise<void> {
    if (this.#rests.leaseLost(agent, Date.now())) this.#presence.tell(agent, { type: "rest" });
  }

  #mayWork(agent: string): boolean {
    const now = Date.now();
    return this.#holds.over(agent, now) === null && !this.#rests.rests(agent, now);
  }

  #tellHold(agent: string): void {
    const hold = this.#holds.over(agent, Date.now());
    this.#presence.tell(agent, hold ? { type: hold.kind, until: hold.until } : { type: "resume", until: null });
  }

  /** Until when nobody here gets new work by an operator's word; null: somebody may. */
  #pausedUntil(now: number): number | null {
    const held = [this.#holds.pool(now), ...this.#presence.online().map((agent) => this.#holds.over(agent, now))];
    const [pool, ...each] = held.map((hold) => hold && (hold.until ?? FOREVER));
    if (typeof pool === "number") return pool;
    const untils = each.filter((until) => typeof until === "number");
    return each.length > 0 && untils.length === each.length ? Math.min(...untils) : null;
  }

  // --- the ready list --------------------------------------------------------------------------------------------------

  async offer(offers: Offer[]): Promise<void> {
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
    return {
      agents: this.#presence.counts(),
      ready: this.#dispatch.ready,
      paused_until: this.#pausedUntil(Date.now()),
    };
  }

  // --- control sockets -------------------------------------------------------------------------------------------------

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
    const { agent } = controlIdentityOf(request.headers.get(EDGE_HEADERS.identity));
    // The Worker remembers a yes for 30 s: a socket must not outlive a revocation it slipped past.
    const row = this.#database.toRead()?.agents.get(agent.agent);
    if (!row || row.revoked_at !== null) return new Response(null, { status: 401 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    this.#presence.add(server, { agent: agent.agent, name: row.name });
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const present = this.#presence.of(socket);
    if (present === null) return;
    if (typeof message !== "string" || message.length > MAX_MESSAGE_CHARS) {
      closeQuietly(socket, CLOSE.TOO_BIG, "not of the protocol");
      return;
    }
    const up = controlUpOf(message);
    if (up === null) logLine("warn", "control_message_unknown", { agent: present.kept.agent, length: message.length });
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
      this.#dispatch.changed(this.#presence.report(present, up, Date.now()), id);
    } else if (up.type === "metrics") takeFigures(this.#pool, id, up);
    else if (up.type === "declined") this.#dispatch.declined(up.ref, id);
    else if (up.type === "known?") {
      const refs = up.refs.filter((ref) => this.#dispatch.isTaken(ref));
      sendDown(present.socket, { type: "taken", refs });
    } else assertNever(up);
  }

  #greet(present: Present, hello: Extract<ControlUp, { type: "hello" }>): void {
    const { capability_hash: hash, capability } = hello;
    if (capability !== undefined) {
      if (!this.#database.toWrite().capabilities.put(hash, capability, Date.now()))
        logLine("warn", "capability_too_large", { agent: present.kept.agent });
      this.#loaded.set(hash, new Set(capability.loaded_models));
    } else if (!this.#database.toRead()?.capabilities.has(hash)) {
      sendDown(present.socket, { type: "want_capability" });
    }
    if (!settingsOf(this.env).OFFERS_ENABLED) sendDown(present.socket, { type: "offers", enabled: false });
    const hold = this.#holds.over(present.kept.agent, Date.now());
    if (hold) sendDown(present.socket, { type: hold.kind, until: hold.until });
    // It may not have heard that its hold was ended.
    else if (hello.slots.some(({ state }) => state === "paused"))
      sendDown(present.socket, { type: "resume", until: null });
    const changes = this.#presence.greet(present, hello, Date.now());
    const id = `${present.kept.agent}/${hello.instance}`;
    for (const change of changes) this.#dispatch.changed(change, id);
    this.#dispatch.run();
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

function controlUpOf(message: string): ControlUp | null {
  try {
    const parsed = controlUpSchema.safeParse(JSON.parse(message));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
