/**
 * Owns which agents are admitted to the pool: their tokens' hashes, the codes that give tokens, what is known of each.
 * Invariant: synchronous, so that a code is traded once whoever asks at the same time; a secret or a code is known by hash alone.
 */
import { equalInConstantTime } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type JobId, jobIdSchema, keyIdSchema, type PoolName } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { StoredAgent } from "../../storage/pool/agents.ts";
import type { PoolDatabase } from "../../storage/pool/database.ts";
import type {
  AgentDetail,
  AgentError,
  AgentLease,
  AgentRow,
  Enrol,
  Enrolled,
  KeyProof,
  KnownAgent,
  NewAgent,
  NewCode,
  PoolSetup,
} from "../contract.ts";
import type { Holds } from "./holds.ts";
import type { Presence } from "./presence.ts";
import { leasesOf, processOf } from "./process-view.ts";
import { figuresByHash, setupOf } from "./setup-view.ts";

const UNAUTHORIZED = refusalOf("UNAUTHORIZED", "A valid agent token is required.");
const UNKNOWN_AGENT = refusalOf("NOT_FOUND", "There is no agent of this name in the pool.");
const WRONG_CODE = refusalOf("UNAUTHORIZED", "The code is wrong, spent or too old.");
/** The same trouble told again within this time is the same row. */
const SAME_ERROR_MS = 60_000;

export class Roster {
  readonly #pool: PoolName;
  readonly #database: PoolDatabase;
  readonly #holds: Holds;
  readonly #presence: Presence;

  constructor(pool: PoolName, database: PoolDatabase, holds: Holds, presence: Presence) {
    this.#pool = pool;
    this.#database = database;
    this.#holds = holds;
    this.#presence = presence;
  }

  /** Agents whose token is good. */
  get size(): number {
    return this.#database.toRead()?.agents.count() ?? 0;
  }

  knows(agent: string): boolean {
    return this.#get(agent) !== null;
  }

  /** Its row while its token is good. */
  admitted(agent: string): StoredAgent | null {
    const row = this.#get(agent);
    return row && row.revoked_at === null ? row : null;
  }

  verify(proof: KeyProof, now: number): Result<KnownAgent, Refusal> {
    const row = this.#database.toRead()?.agents.byKeyId(proof.keyid);
    if (!row || row.revoked_at !== null || !equalInConstantTime(row.secret_sha256, proof.secret_sha256))
      return refuse(UNAUTHORIZED);
    const hold = this.#holds.over(row.agent, now);
    return ok({ identity: { agent: row.agent, name: row.name, pool: this.#pool }, hold });
  }

  create({ agent, name, keyid, secret_sha256 }: NewAgent, code: NewCode | null, now: number): AgentRow {
    const { agents } = this.#database.toWrite();
    const created_at = agents.get(agent)?.created_at ?? now;
    agents.put({ agent, name, keyid, secret_sha256, created_at });
    if (code) this.#putCode(agent, code, now);
    return this.#rowOf({ agent, name, created_at, revoked_at: null }, now);
  }

  openCode(agent: string, code: NewCode, now: number): Result<AgentRow, Refusal> {
    const row = this.#get(agent);
    if (!row) return refuse(UNKNOWN_AGENT);
    this.#putCode(agent, code, now);
    return ok(this.#rowOf(row, now));
  }

  enrol({ code_sha256, keyid, secret_sha256 }: Enrol, now: number): Result<Enrolled, Refusal> {
    const tables = this.#database.toRead();
    const code = tables?.enrolments.byCode(code_sha256);
    const known = code && tables?.agents.get(code.agent);
    if (!tables || !code || !known || code.expires_at <= now) return refuse(WRONG_CODE);
    const { agent, name, created_at } = known;
    if (code.used_at === null) {
      tables.enrolments.put({ ...code, used_at: now });
      tables.agents.put({ agent, name, keyid, secret_sha256, created_at });
      const row = this.#rowOf({ agent, name, created_at, revoked_at: null }, now);
      return ok({ row, keyid, is_first: true });
    }
    if (!equalInConstantTime(known.secret_sha256, secret_sha256)) return refuse(WRONG_CODE);
    return ok({ row: this.#rowOf(known, now), keyid: keyIdSchema.parse(known.keyid), is_first: false });
  }

  list(now: number): AgentRow[] {
    return (this.#database.toRead()?.agents.all() ?? []).map((row) => this.#rowOf(row, now));
  }

  detail(agent: string, now: number): Result<AgentDetail, Refusal> {
    const tables = this.#database.toRead();
    const row = this.#get(agent);
    if (!row) return refuse(UNKNOWN_AGENT);
    const capabilityOf = (hash: string) => tables?.capabilities.get(hash) ?? null;
    return ok({
      ...this.#rowOf(row, now),
      held: this.#holds.over(agent, now),
      processes: this.#presence.processesOf(agent).map(processOf(capabilityOf)),
      leases: this.leases(agent),
      last_error: this.#lastError(agent),
    });
  }

  setup({ model, after, limit }: { model: string; after: string; limit: number }, now: number): PoolSetup {
    const tables = this.#database.toRead();
    const admitted = (tables?.agents.all() ?? []).filter(({ revoked_at }) => revoked_at === null);
    const online = admitted.filter(({ agent }) => this.#presence.isOnline(agent));
    const rest = online.filter(({ agent }) => agent > after).sort((a, b) => (a.agent < b.agent ? -1 : 1));
    const figuresOf = figuresByHash(model, (hash) => tables?.capabilities.get(hash) ?? null);
    const agents = rest.slice(0, limit).map(({ agent, name }) => {
      const held = this.#holds.over(agent, now) !== null;
      return { agent, name, held, ...setupOf(this.#presence.processesOf(agent), figuresOf) };
    });
    return { admitted: admitted.length, online: online.length, agents, more: rest.length > limit };
  }

  /** What its processes say they have. */
  leases(agent: string): AgentLease[] {
    return this.#presence.processesOf(agent).flatMap(leasesOf);
  }

  revoke(agent: string, now: number): Result<AgentRow, Refusal> {
    const tables = this.#database.toRead();
    tables?.agents.revoke(agent, now);
    tables?.enrolments.remove(agent);
    const row = this.#get(agent);
    return row ? ok(this.#rowOf(row, now)) : refuse(UNKNOWN_AGENT);
  }

  /** Keeps what went wrong with an agent. When the same was kept of it before, if it was the last that was; null: it was not. */
  trouble(agent: string, text: string, job: JobId | null, now: number): number | null {
    const last = this.#database.toRead()?.troubles.of(agent);
    const before = last?.text === text && last.job === job ? last.at : null;
    if (before === null || now - before >= SAME_ERROR_MS)
      this.#database.toWrite().troubles.put({ agent, at: now, text, job });
    return before;
  }

  /** When it lost a lease before, as far as is kept; null: there is no such agent. */
  leaseLost(agent: string, now: number): { before: number | null } | null {
    return this.knows(agent) ? { before: this.trouble(agent, "a lease of it ran out", null, now) } : null;
  }

  #lastError(agent: string): AgentError | null {
    const last = this.#database.toRead()?.troubles.of(agent);
    return last ? { at: last.at, text: last.text, job: last.job === null ? null : jobIdSchema.parse(last.job) } : null;
  }

  #get(agent: string): StoredAgent | null {
    return this.#database.toRead()?.agents.get(agent) ?? null;
  }

  #putCode(agent: string, { code_sha256, expires_at }: NewCode, now: number): void {
    const { enrolments } = this.#database.toWrite();
    enrolments.removeExpired(now);
    enrolments.put({ agent, code_sha256, expires_at, used_at: null });
  }

  #rowOf(row: Omit<AgentRow, "online" | "hold" | "code_expires_at">, now: number): AgentRow {
    const { agent, name, created_at, revoked_at } = row;
    const code = this.#database.toRead()?.enrolments.of(agent);
    const isOpen = code && code.used_at === null && code.expires_at > now;
    return {
      agent,
      name,
      created_at,
      revoked_at,
      online: this.#presence.isOnline(agent),
      hold: this.#holds.agent(agent, now),
      code_expires_at: isOpen ? code.expires_at : null,
    };
  }
}
