/**
 * Owns how a test plays a job through without an agent's process, and looks at all an account has on record.
 * Invariant: goes through the same RPC as a real agent's calls; every table there is gets read, so that nothing can hide.
 */
import { runInDurableObject } from "cloudflare:test";
import { vi } from "vitest";
import { accountOf } from "../../../src/objects/locate.ts";
import { type Env, type Settings, settingsOf } from "../../../src/platform/env.ts";
import { type AccountId, type JobId, jobIdSchema, type LeaseFields } from "../../../src/protocol/ids.ts";
import { bindings, fileOf, METRICS, objectOf, POOL, seenAs } from "./account.ts";
import { as, type Person, post, type Refused, send } from "./client.ts";

export type View = { job_id: string; status: string; [name: string]: unknown };

export const call = (user: Person, method: string, path: string, body?: string, headers = {}) =>
  send(
    `/api/v1${path}`,
    body === undefined ? { ...as(user.key, headers), method } : { ...post(user.key, body, headers), method },
  );
export const refused = async (answer: Response) => [answer.status, (await answer.json<Refused>()).error.code];
export const total = async (user: Person) => (await (await call(user, "GET", "/jobs")).json<{ total: number }>()).total;

/** What an agent is granted for the job's first attempt. */
export async function granted(user: Person, job: JobId) {
  const answer = await accountOf(bindings, user.account).claim({
    job,
    attempt: 1,
    claim_id: "c".repeat(20),
    agent: { agent: "agent-a", name: "a", pool: POOL },
    slot: 0,
    ahead: false,
  });
  if (!answer.ok) throw new Error(answer.refusal);
  return answer.value;
}

export async function leased(user: Person, job: JobId): Promise<LeaseFields> {
  const { nonce } = await granted(user, job);
  return { account: user.account, job, attempt: 1, nonce };
}

/** Runs the job to success with one picture; its bucket key. */
export async function complete(user: Person, job: JobId): Promise<string> {
  const lease = await leased(user, job);
  const stub = accountOf(bindings, user.account);
  const grant = await stub.grantUploads(lease);
  if (!grant.ok) throw new Error("no grant");
  const file = fileOf(grant.value.prefix);
  const done = await stub.complete(lease, [file], seenAs([file]), METRICS);
  if (!done.ok) throw new Error("not completed");
  return file.key ?? "";
}

/** Waits until the account holds a job that nobody has claimed. */
export async function firstJob(user: Person, nth = 0): Promise<JobId> {
  return vi.waitFor(
    async () => {
      const { jobs } = await (await call(user, "GET", "/jobs")).json<{ jobs: View[] }>();
      const found = jobs.toReversed()[nth];
      if (found === undefined) throw new Error("not yet");
      return jobIdSchema.parse(found.job_id);
    },
    { timeout: 10_000, interval: 5 },
  );
}

export function rowsOf(account: AccountId): Promise<unknown[]> {
  return runInDurableObject(objectOf(account), (_, state) => {
    const { sql } = state.storage;
    const tables = sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").toArray();
    return tables
      .filter(({ name }) => !name.startsWith("_cf"))
      .flatMap(({ name }) => sql.exec(`SELECT * FROM "${name}"`).toArray());
  });
}

/** Settings of this account's object for as long as `work` runs. */
export async function withSettings(
  account: AccountId,
  over: Partial<Settings>,
  work: () => Promise<void>,
): Promise<void> {
  const set = (values: Partial<Settings>) =>
    runInDurableObject(objectOf(account), (instance) => {
      // `env` is protected in the base class; a test may look.
      const settings = settingsOf((instance as unknown as { env: Env }).env);
      const before = { ...settings };
      Object.assign(settings, values);
      return before;
    });
  const before = await set(over);
  try {
    await work();
  } finally {
    await set(before);
  }
}
