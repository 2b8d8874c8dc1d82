/**
 * Owns everything one may ask of each Durable Object: argument and result types of every RPC.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type {
  AttemptMetrics,
  ClaimRefusal,
  FailRequest,
  ManifestEntry,
  ReleaseRequest,
  RenewAnswer,
  RenewRequest,
  StoppedRequest,
} from "../protocol/agent-api.ts";
import type { Refusal } from "../protocol/errors.ts";
import type { AccountId, JobId, KeyId, KeyKind, LeaseFields, PoolName } from "../protocol/ids.ts";
import type { JobEvent, JobRecord, JobSource } from "../protocol/job.ts";
import type { Result } from "../protocol/result.ts";
import type { JobState } from "../protocol/states.ts";

// --- who asks --------------------------------------------------------------------------------------------------------

/** What the Worker knows of a presented key after its MAC held: the object decides revocation and expiry. */
export type KeyProof = { kind: KeyKind; keyid: KeyId; secret_sha256: string };

/**
 * `key`: verified by the object that receives the call. `parent`: a tenant's call; the Worker had the parent account
 * verify the service key within the last 30 s, and the tenant's object trusts that. `internal`: a ticket or our own sweep.
 */
export type Auth =
  | { by: "key"; proof: KeyProof }
  | { by: "parent"; parent: AccountId; keyid: KeyId; user_id: string; region: string | null }
  | { by: "internal"; keyid: string };

export type RateState = { limit: number | null; remaining: number | null; reset_at_ms: number; policy: string };

// --- account: clients -----------------------------------------------------------------------------------------------

export type NewInput = { name: string; bucket_key: string; size_bytes: number; md5: string };

export type NewJob = {
  source: JobSource;
  /** Effective parameters as JSON text, null for a raw workflow. */
  params_text: string | null;
  template: { id: string; version: number } | null;
  /** The graph as text, integers verbatim; stored once per SHA-256. */
  workflow_text: string;
  /** SHA-256 of `workflow_text`, in hex. */
  workflow_hash: string;
  /** Seed of the job as text when there is exactly one, for artifacts. */
  seed: string | null;
  explicit_seed: boolean;
  pool: PoolName | null;
  priority: number;
  user_id: string | null;
  metadata: { [name: string]: string };
  webhook_url: string | null;
  run_timeout_ms: number | null;
  queue_timeout_ms: number | null;
  inputs: NewInput[];
  /** Images asked for by parameters, held against the role's `batch`; absent or 1 for a workflow. */
  batch_size?: number;
};

export type SubmitCommand = {
  auth: Auth;
  /** Route name: part of the fingerprint's scope. */
  route: "jobs" | "bulk" | "generate" | "rerun";
  idempotency: { key: string; fingerprint: string } | null;
  /** One, or several in bulk: all are admitted or none. */
  jobs: NewJob[];
  request_id: string;
  traceparent: string | null;
};

export type SubmitDone = { records: JobRecord[]; replayed: boolean; rate: RateState };
/** A refusal that still tells the rate headers. */
export type RefusedWithRate = Refusal & { rate?: RateState };

export type ListQuery = {
  status: JobState[] | null;
  limit: number;
  /** Exclusive: jobs older than this id. */
  cursor: JobId | null;
  offset: number;
  created_after_ms: number | null;
  created_before_ms: number | null;
  template: string | null;
  metadata: { [name: string]: string };
};
export type ListPage = { records: JobRecord[]; total: number; next_cursor: JobId | null };

export type CancelDone = {
  record: JobRecord;
  /** True when this call, or one still under way, changed the job: 202. */
  changed: boolean;
};

export type Usage = {
  role: string;
  region: string;
  limits: { daily: number | null; max_active: number; max_running: number };
  today: { jobs: number; remaining: number | null; resets_at_ms: number };
  active: number;
  running: number;
  gpu_seconds: number;
  by_day: { date: string; jobs: number; succeeded: number; failed: number; gpu_seconds: number }[];
};

// --- account: agents --------------------------------------------------------------------------------------------------

export type AgentIdentity = { agent: string; name: string; pool: PoolName };

export type ClaimCommand = {
  job: JobId;
  /** The attempt the ref names; a claim that would begin another is `gone`. */
  attempt: number;
  claim_id: string;
  agent: AgentIdentity;
  slot: number;
  ahead: boolean;
};
export type ClaimGrant = {
  nonce: string;
  attempt: number;
  lease_expires_in_ms: number;
  renew_every_ms: number;
  workflow_text: string;
  workflow_hash: string;
  inputs: NewInput[];
  run_ms: number;
  no_progress_ms: number;
  keep_metadata: boolean;
  max_files: number;
  max_bytes: number;
  traceparent: string | null;
};

/** What the Worker read from the bucket for each key of a manifest: null where nothing is there. */
export type SeenObject =
  | { key: string; size_bytes: number; md5: string | null }
  | { key: string; size_bytes: null; md5: null };

export type LeaseLost = { refusal: "lease_lost" };
export type Finished = { status: JobState };

/** What an upload may be signed for: the attempt's key prefix, or why not. */
export type UploadGrant = { prefix: string };

// --- account: keys and set-up ---------------------------------------------------------------------------------------

export type AccountProfile = { role: string; region: string; name: string; default_pool: PoolName };
export type KeyRow = {
  keyid: KeyId;
  kind: KeyKind;
  name: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
};
export type NewKey = { keyid: KeyId; kind: KeyKind; secret_sha256: string; name: string; expires_at: number | null };

/** What a ProgressObject needs after a start with empty memory. */
export type Snapshot = {
  record: JobRecord;
  /** The live lease, null when none: frames of any other attempt are refused. */
  lease: { attempt: number; nonce: string } | null;
};

export interface AccountRpc {
  submit(command: SubmitCommand): Promise<Result<SubmitDone, RefusedWithRate>>;
  getJob(auth: Auth, job: JobId): Promise<Result<JobRecord, Refusal>>;
  listJobs(auth: Auth, query: ListQuery): Promise<Result<ListPage, Refusal>>;
  listEvents(auth: Auth, job: JobId, afterRevision: number): Promise<Result<JobEvent[], Refusal>>;
  cancelJob(auth: Auth, job: JobId): Promise<Result<CancelDone, Refusal>>;
  usage(auth: Auth): Promise<Result<Usage, Refusal>>;

  claim(command: ClaimCommand): Promise<Result<ClaimGrant, ClaimRefusal>>;
  renew(lease: LeaseFields, request: RenewRequest): Promise<RenewAnswer>;
  /** The prefix objects of this attempt live under; refused from a cancel on. */
  grantUploads(lease: LeaseFields): Promise<Result<UploadGrant, LeaseLost>>;
  complete(
    lease: LeaseFields,
    artifacts: ManifestEntry[],
    seen: SeenObject[],
    metrics: AttemptMetrics,
  ): Promise<Result<Finished, LeaseLost>>;
  fail(lease: LeaseFields, request: FailRequest): Promise<Result<Finished, LeaseLost>>;
  release(lease: LeaseFields, request: ReleaseRequest): Promise<Result<Finished, LeaseLost>>;
  stopped(lease: LeaseFields, request: StoppedRequest): Promise<Result<Finished, LeaseLost>>;
  /** A hint: the attempt's progress socket closed and none replaced it. Shortens the lease to the grace. */
  agentLost(lease: LeaseFields): Promise<void>;
  /** A hint: a doorbell of this attempt reached the dead-letter queue. */
  doorbellDied(job: JobId, attempt: number): Promise<void>;
  snapshot(job: JobId): Promise<Snapshot | null>;

  /** Creates the account, or updates its role and region. Idempotent. */
  provision(profile: AccountProfile): Promise<void>;
  verifyKey(proof: KeyProof): Promise<Result<{ role: string; region: string }, Refusal>>;
  createKey(key: NewKey): Promise<Result<KeyRow, Refusal>>;
  listKeys(): Promise<KeyRow[]>;
  revokeKey(keyid: KeyId): Promise<Result<KeyRow, Refusal>>;
  /** True exactly once in the life of the object: the compare-and-set behind BOOTSTRAP_TOKEN. */
  bootstrap(key: NewKey): Promise<boolean>;
}

// --- progress ---------------------------------------------------------------------------------------------------------

export interface ProgressRpc {
  /** A transition was committed. In a terminal state viewers get `artifact`s, `done`, and are closed. Repeat-safe. */
  publish(record: JobRecord): Promise<void>;
  /** Pushes `cancel` down the agent's progress socket of that attempt; false when none is open. A hint. */
  pushCancel(attempt: number): Promise<boolean>;
}

// --- pool -------------------------------------------------------------------------------------------------------------

/** One ready job, as the account offers it. */
export type Offer = {
  ref: string;
  account: AccountId;
  job: JobId;
  attempt: number;
  priority: number;
  weight: number;
  models: string[];
};

export type PoolStatus = {
  agents: { online: number; busy: number };
  ready: number;
  paused_until: number | null;
};

export type NewAgent = { agent: string; name: string; keyid: KeyId; secret_sha256: string };
export type AgentRow = { agent: string; name: string; created_at: number; revoked_at: number | null; online: boolean };

export interface PoolRpc {
  verifyToken(proof: KeyProof): Promise<Result<AgentIdentity, Refusal>>;
  createAgent(agent: NewAgent): Promise<AgentRow>;
  listAgents(): Promise<AgentRow[]>;
  revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>>;
  /** Hints: offered to idle agents at once, kept in the ready list otherwise. */
  offer(offers: Offer[]): Promise<void>;
  withdraw(refs: string[]): Promise<void>;
  status(): Promise<PoolStatus>;
}

// --- metrics ----------------------------------------------------------------------------------------------------------

/** Counter name with its labels as Prometheus text (`name{a="b"}`) -> increment. */
export type CounterDeltas = { [series: string]: number };

export interface MetricsRpc {
  add(deltas: CounterDeltas): Promise<void>;
  read(): Promise<CounterDeltas>;
}

/** Headers the Worker sets on an upgrade it passes to an object, after stripping the client's own of the same names. */
export const EDGE_HEADERS = {
  /** `viewer` or `agent`. */
  role: "X-Edge-Role",
  /** JSON of ViewerIdentity, AgentSocketIdentity or ControlSocketIdentity. */
  identity: "X-Edge-Identity",
} as const;

export type ViewerIdentity = {
  account: AccountId;
  job: JobId;
  auth: Auth;
  /** Where the viewer's key lives (a tenant's with its parent): asked for again as long as the socket lives. */
  key: { account: AccountId; keyid: string };
  /** Nonce of the ticket it came by, good for one socket; null when it came by its key. */
  ticket: string | null;
  /** `sse`: refusals are HTTP statuses, not closes; its ticket may come again when `last_seq` is given. */
  transport: "ws" | "sse";
  previews: boolean;
  last_seq: number | null;
};
export type AgentSocketIdentity = { lease: LeaseFields; agent: AgentIdentity };
export type ControlSocketIdentity = { agent: AgentIdentity };
