/**
 * Owns an account's database as earlier code left it: at any version, with a row of every kind that version knew.
 * Invariant: rows are written by column name as they were then, and never through the code of today.
 */
import { ACCOUNT_MIGRATIONS } from "../../../migrations/account/index.ts";
import { sha256Hex } from "../../../src/platform/hash.ts";
import { jobPrefix } from "../../../src/protocol/bucket-keys.ts";
import { type AccountId, type JobId, jobIdSchema } from "../../../src/protocol/ids.ts";
import { deliveryIdSchema, endpointIdSchema } from "../../../src/protocol/webhooks.ts";
import { migrate } from "../../../src/storage/migrator.ts";
import { SECRET } from "./account.ts";
import { memoOf, OLD_NONCE, OLD_ORDER, OLD_TEXT, outcomeOf } from "./old-documents.ts";

type Row = { [column: string]: string | number | null };
type Put = (table: string, row: Row) => void;

export const OLD_ENDPOINT = endpointIdSchema.parse(`ep_${"e".repeat(12)}`);
export const OLD_DELIVERY = deliveryIdSchema.parse(`dl_${"d".repeat(18)}`);
const DAY_MS = 86_400_000;

/** Each job in another state of its life. */
export const OLD_JOBS = {
  done: jobIdSchema.parse("j_00000000d001"),
  untold: jobIdSchema.parse("j_00000000d002"),
  running: jobIdSchema.parse("j_00000000d003"),
  rung: jobIdSchema.parse("j_00000000d004"),
  held: jobIdSchema.parse("j_00000000d005"),
};

const EMPTIED = jobIdSchema.parse("j_00000000c001");
/** Before, all rows of ended jobs were given their time; after, such a row goes when another is newer. */
export const hasEmptied = (version: number) => version >= 5 && version < 9;

/** Makes the database at `version` with everything in it. @returns keys of the bucket: of the result, and of what is owed a deletion. */
export function writeOldAccount(
  storage: DurableObjectStorage,
  version: number,
  { account, keyid, now }: { account: AccountId; keyid: string; now: number },
): { result: string; owed: string } {
  migrate(storage, ACCOUNT_MIGRATIONS.slice(0, version));
  const put: Put = (table, row) => {
    const names = Object.keys(row);
    const marks = names.map(() => "?").join(", ");
    storage.sql.exec(`INSERT INTO ${table} (${names.join(", ")}) VALUES (${marks})`, ...Object.values(row));
  };
  putOwner(put, keyid, now);
  put("payloads", { sha256: sha256Hex(OLD_TEXT), text: OLD_TEXT });
  const result = `${jobPrefix(30, account, OLD_JOBS.done)}/1-nnnnnnnn/0.png`;
  const ended = now - DAY_MS;
  const kept = version >= 5 ? { expires_at: ended + 30 * DAY_MS } : {};
  for (const job of [OLD_JOBS.done, OLD_JOBS.untold])
    put("jobs", { ...jobRow(job, ended, outcomeOf(ended, job === OLD_JOBS.done ? result : null)), ...kept });
  // Once the newest, then past its time.
  const gone = now - 40 * DAY_MS;
  if (hasEmptied(version))
    put("jobs", { ...jobRow(EMPTIED, gone, outcomeOf(gone, null)), payload: "", expires_at: null });
  for (const job of [OLD_JOBS.running, OLD_JOBS.rung, OLD_JOBS.held]) put("jobs", jobRow(job, now, null));
  putLive(put, version, now);
  put("idempotency", {
    key: sha256Hex("jobs\0k"),
    fingerprint: "f",
    jobs: JSON.stringify([OLD_JOBS.done]),
    expires_at: now + DAY_MS,
  });
  const owed = `${jobPrefix(30, account, OLD_JOBS.running)}/0-oooooooo`;
  put("outbox", {
    id: `delete:${owed}`,
    kind: "delete_objects",
    body: JSON.stringify({ prefix: owed }),
    due_at: now,
    tries: 0,
    created_at: now,
  });
  if (version >= 3) putHooks(put, now);
  if (version >= 4) put("days", { date: "2029-12-31", jobs: 2, succeeded: 1, failed: 1, gpu_ms: 500 });
  return { result, owed: `${owed}/0.png` };
}

function putOwner(put: Put, keyid: string, now: number): void {
  put("account", {
    one: 1,
    role: "pro",
    region: "weur",
    name: "old",
    default_pool: "default",
    parent: null,
    bootstrapped: 0,
    created_at: now,
  });
  put("keys", { keyid, kind: "user", secret_sha256: SECRET, name: "k", created_at: now });
}

function jobRow(job: JobId, queued_at: number, outcome: { finished_at: number } | null): Row {
  const { finished_at = null, ...rest } = outcome ?? {};
  return {
    job,
    state: outcome ? "succeeded" : "queued",
    revision: outcome ? 3 : 1,
    queued_at,
    started_at: finished_at,
    finished_at,
    gpu_ms: outcome ? 1_500 : 0,
    tat: 0,
    template: null,
    payload: sha256Hex(OLD_TEXT),
    doc: JSON.stringify({ order: OLD_ORDER, outcome: outcome && rest }),
  };
}

function putLive(put: Put, version: number, now: number): void {
  const lease = {
    nonce: OLD_NONCE,
    claim_id: "c".repeat(20),
    agent: "agent-a",
    slot: 0,
    granted_at: now,
    started_at: now,
    until: now + 60_000,
  };
  const write = version >= 6 ? writeDocument : writeColumns;
  write(
    put,
    { job: OLD_JOBS.untold, status: "succeeded", revision: 3, attempt: 1, publish_at: now + 30_000, due: now + 30_000 },
    null,
    now,
  );
  write(put, { job: OLD_JOBS.running, status: "running", revision: 2, attempt: 1, due: lease.until }, lease, now);
  write(
    put,
    {
      job: OLD_JOBS.rung,
      status: "queued",
      revision: 1,
      attempt: 0,
      ring_at: now + 60_000,
      queue_deadline: now + 3_600_000,
      due: now + 60_000,
    },
    null,
    now,
  );
  write(
    put,
    {
      job: OLD_JOBS.held,
      status: "queued",
      revision: 1,
      attempt: 0,
      queue_deadline: now + 3_600_000,
      due: now + 3_600_000,
    },
    null,
    now,
  );
}

type OldLease = {
  nonce: string;
  claim_id: string;
  agent: string;
  slot: number;
  granted_at: number;
  started_at: number;
  until: number;
};

/** Versions 1 to 5: a column for each. */
function writeColumns(put: Put, row: Row, lease: OldLease | null, now: number): void {
  put("live", {
    pool: "default",
    priority: 0,
    charged: lease ? 1 : 0,
    max_attempts: 3,
    queued_at: now,
    started_at: lease?.started_at ?? null,
    run_timeout_ms: 600_000,
    queue_timeout_ms: 3_600_000,
    nonce: lease?.nonce ?? null,
    claim_id: lease?.claim_id ?? null,
    agent: lease?.agent ?? null,
    slot: lease?.slot ?? null,
    lease_granted_at: lease?.granted_at ?? null,
    lease_started_at: lease?.started_at ?? null,
    lease_until: lease?.until ?? null,
    rings: row.ring_at ? 1 : 0,
    dead_letters: 0,
    run_deadline: lease ? now + 600_000 : null,
    publishes: 0,
    progress: 0,
    progress_detail: null,
    memo: JSON.stringify(memoOf(now)),
    ...row,
  });
}

/** From version 6 on: what nothing looks for is one document. */
function writeDocument(
  put: Put,
  { queue_deadline = null, publish_at = null, ...row }: Row,
  lease: OldLease | null,
  now: number,
): void {
  const doc = {
    pool: "default",
    charged: lease ? 1 : 0,
    max_attempts: 3,
    queued_at: now,
    started_at: lease?.started_at ?? null,
    run_timeout_ms: 600_000,
    queue_timeout_ms: 3_600_000,
    lease,
    rings: row.ring_at ? 1 : 0,
    dead_letters: 0,
    queue_deadline,
    run_deadline: lease ? now + 600_000 : null,
    cancel_deadline: null,
    publish_at,
    publishes: 0,
    progress: 0,
    progress_detail: null,
    memo: memoOf(now),
  };
  put("live", { priority: 0, nonce: lease?.nonce ?? null, doc: JSON.stringify(doc), ...row });
}

function putHooks(put: Put, now: number): void {
  const url = "https://example.com/hook";
  put("endpoints", {
    endpoint: OLD_ENDPOINT,
    url,
    description: "",
    events: '["job.succeeded"]',
    enabled: 1,
    disabled_reason: null,
    failing_since: null,
    secret_version: 1,
    previous_until: null,
    created_at: now,
  });
  put("deliveries", {
    delivery: OLD_DELIVERY,
    message: `msg_${OLD_JOBS.done}_3`,
    event: "job.succeeded",
    job: OLD_JOBS.done,
    endpoint: OLD_ENDPOINT,
    url,
    body: "{}",
    state: "delivered",
    reason: null,
    handed: 0,
    due_at: null,
    first_at: now,
    tries: 1,
    log: "[]",
    created_at: now,
    ended_at: now,
    expires_at: now + DAY_MS,
  });
}
