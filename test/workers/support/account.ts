/**
 * Owns how a test speaks to a real account object: commands with defaults, one pool, one agent.
 * Invariant: nothing here decides; it only fills in what a test does not care about.
 */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type {
  AccountRpc,
  Auth,
  ClaimCommand,
  ListQuery,
  NewJob,
  SubmitCommand,
} from "../../../src/objects/contract.ts";
import { accountOf } from "../../../src/objects/locate.ts";
import { type Env, settingsOf } from "../../../src/platform/env.ts";
import { randomBase32, sha256Hex } from "../../../src/platform/hash.ts";
import type { AttemptMetrics, ManifestEntry, RenewRequest } from "../../../src/protocol/agent-api.ts";
import {
  type AccountId,
  accountIdSchema,
  type JobId,
  type KeyId,
  keyIdSchema,
  type LeaseFields,
  poolNameSchema,
} from "../../../src/protocol/ids.ts";
import type { Role, RoleName } from "../../../src/protocol/roles.ts";

// The bindings of wrangler.toml; the runtime types them loosely.
export const bindings = env as unknown as Env;
export const POOL = poolNameSchema.parse("default");
export const SECRET = sha256Hex("secret");

export const METRICS: AttemptMetrics = {
  prepare_ms: 5,
  load_ms: 10,
  run_ms: 100,
  upload_ms: 7,
  gpu_seconds: 0.11,
  gpu_name: "Test GPU",
};

/** The first page of every job. */
export const anyJobs: ListQuery = {
  status: null,
  limit: 20,
  cursor: null,
  offset: 0,
  created_after_ms: null,
  created_before_ms: null,
  template: null,
  metadata: {},
};

export function freshAccount(): AccountId {
  return accountIdSchema.parse(`u${randomBase32(15)}`);
}

export function newJob(over: Partial<NewJob> = {}): NewJob {
  const workflow_text = over.workflow_text ?? `{"1":{"class_type":"Test","inputs":{"seed":18446744073709551615}}}`;
  return {
    source: "workflow",
    params_text: null,
    template: null,
    workflow_text,
    workflow_hash: sha256Hex(workflow_text),
    seed: "7",
    explicit_seed: true,
    pool: null,
    priority: 0,
    user_id: null,
    metadata: {},
    webhook_url: null,
    run_timeout_ms: null,
    queue_timeout_ms: null,
    inputs: [],
    ...over,
  };
}

/** An account of its own with one key, and the verbs of a client, an agent and a test on it. */
export async function openAccount(role = "internal", account = freshAccount()) {
  const stub = accountOf(bindings, account);
  await stub.provision({ role, region: "wnam", name: "test", default_pool: POOL });
  const keyid: KeyId = keyIdSchema.parse(randomBase32(8));
  await stub.createKey({ keyid, kind: "user", secret_sha256: SECRET, name: "test", expires_at: null });
  return clientOf(account, keyid);
}

export type TestAccount = ReturnType<typeof clientOf>;

export function clientOf(account: AccountId, keyid: KeyId) {
  // A new stub per call: one is broken for ever once its object was aborted.
  const stub = () => accountOf(bindings, account);
  const auth = { by: "key", proof: { kind: "user", keyid, secret_sha256: SECRET } } as const;
  const submit = (jobs: NewJob[] = [newJob()], over: Partial<SubmitCommand> = {}) =>
    stub().submit({ auth, route: "jobs", idempotency: null, jobs, request_id: "req_test", traceparent: null, ...over });
  const submitOne = async (over: Partial<NewJob> = {}): Promise<JobId> => {
    const result = await submit([newJob(over)]);
    if (!result.ok) throw new Error(result.refusal.code);
    const [record] = result.value.records;
    if (!record) throw new Error("no record");
    return record.job;
  };
  const claim = (job: JobId, over: Partial<ClaimCommand> = {}) =>
    stub().claim({
      job,
      attempt: 1,
      claim_id: randomBase32(20),
      agent: { agent: "agent-a", name: "a", pool: POOL },
      slot: 0,
      ahead: false,
      ...over,
    });
  const lease = async (job: JobId, over: Partial<ClaimCommand> = {}): Promise<LeaseFields> => {
    const granted = await claim(job, over);
    if (!granted.ok) throw new Error(granted.refusal);
    return { account, job, attempt: granted.value.attempt, nonce: granted.value.nonce };
  };
  const get = async (job: JobId) => {
    const result = await readJob(stub(), auth, job);
    if (!result.ok) throw new Error(result.refusal.code);
    return result.value;
  };
  return { account, keyid, auth, stub, submit, submitOne, claim, lease, get };
}

/** One job as its owner's GET reads it. */
export async function readJob(stub: AccountRpc, auth: Auth, job: JobId) {
  const [read] = await stub.getEach([{ auth, job }]);
  if (read === undefined || read === "threw") throw new Error("a read threw");
  return read;
}

export function renewal(over: Partial<RenewRequest> = {}): RenewRequest {
  return { phase: "executing", progress: 0.5, progress_detail: null, ...over };
}

export function fileOf(prefix: string, n = 0): ManifestEntry {
  return {
    name: `image_${n}.png`,
    key: `${prefix}/${n}.png`,
    type: "image",
    content_type: "image/png",
    size_bytes: 100 + n,
    md5: sha256Hex(`${n}`).slice(0, 32),
    sha256: sha256Hex(`${n}`),
    node_id: "9",
    width: 64,
    height: 64,
    seed: null,
    text: null,
  };
}

export function seenAs(entries: readonly ManifestEntry[]) {
  return entries.map((e) => ({ key: e.key ?? "", size_bytes: e.size_bytes, md5: e.md5 }));
}

export function objectOf(account: AccountId) {
  return bindings.ACCOUNT.get(bindings.ACCOUNT.idFromName(account));
}

/** Limits of a role for as long as `work` runs, in the object of this account. */
export async function withRole(account: AccountId, name: RoleName, limits: Partial<Role>, work: () => Promise<void>) {
  const role = await runInDurableObject(objectOf(account), (instance) => {
    // `env` is protected in the base class; a test may look.
    const { ROLES } = settingsOf((instance as unknown as { env: Env }).env);
    const before = { ...ROLES[name] };
    Object.assign(ROLES[name], limits);
    return before;
  });
  try {
    await work();
  } finally {
    await runInDurableObject(objectOf(account), (instance) => {
      Object.assign(settingsOf((instance as unknown as { env: Env }).env).ROLES[name], role);
    });
  }
}
