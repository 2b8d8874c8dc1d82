/**
 * Owns a job whose owner, agent and sockets a test holds in its hands, on real objects.
 * Invariant: every job is of an account of its own, so that no test sees another's frames.
 */
import { runInDurableObject } from "cloudflare:test";
import { expect, vi } from "vitest";
import { accountOf } from "../../../src/objects/locate.ts";
import { jobIdSchema, keyIdSchema, type LeaseFields } from "../../../src/protocol/ids.ts";
import { bindings, clientOf, fileOf, METRICS, newJob, POOL, seenAs } from "./account.ts";
import { person } from "./client.ts";
import { agentSocket, detail, type Frame } from "./sockets.ts";

export const OTHER_AGENT = { agent: "agent-b", name: "b", pool: POOL };

/** A person with one queued job, and the agent's verbs on their account. */
export async function withJob() {
  const user = await person();
  const agent = clientOf(user.account, keyIdSchema.parse(user.keyid));
  const submitted = await agent.stub().submit({
    auth: { by: "internal", keyid: user.keyid },
    route: "jobs",
    idempotency: null,
    jobs: [newJob()],
    request_id: "req_test",
    traceparent: null,
  });
  if (!submitted.ok) throw new Error(submitted.refusal.code);
  return { ...user, job: jobIdSchema.parse(submitted.value.records[0]?.job), agent };
}
export type Owned = Awaited<ReturnType<typeof withJob>>;

/** The same, claimed and running, with its agent's socket. */
export async function withRunningJob() {
  const owned = await withJob();
  const lease = await owned.agent.lease(owned.job);
  return { ...owned, lease, socket: await agentSocket(lease) };
}

export const revision = (n: number) => (f: Frame) => f.type === "status" && f.revision === n;
export const shows = (share: number) => (f: Frame) => f.type === "progress" && f.progress === share;
export const progress = (n: number, share: number) => ({
  type: "progress",
  n,
  ts: 1,
  progress: share,
  progress_detail: detail(),
});
export const seqsOf = ({ frames }: { frames: Frame[] }) => frames.map(({ seq }) => seq);
export const growing = (seqs: number[]) => [...new Set(seqs)].sort((a, b) => a - b);

export async function commit({ account }: Owned, lease: LeaseFields): Promise<void> {
  const stub = accountOf(bindings, account);
  const granted = await stub.grantUploads(lease);
  if (!granted.ok) throw new Error("no uploads");
  const files = [fileOf(granted.value.prefix, 0)];
  await stub.complete(lease, files, seenAs(files), METRICS);
}

export function progressObject({ account, job }: Owned) {
  return bindings.PROGRESS.get(bindings.PROGRESS.idFromName(`${account}:${job}`));
}

/** When the account looks at its leases next: moves forward only when one was shortened. */
export function alarmOf({ account }: Owned): Promise<number | null> {
  const object = bindings.ACCOUNT.get(bindings.ACCOUNT.idFromName(account));
  return runInDurableObject(object, (_, state) => state.storage.getAlarm());
}

/** Resolves once the lease was shortened to the grace of 9 s (its first time is 20 s). */
export async function lossReported(owned: Owned): Promise<void> {
  await vi.waitFor(async () => expect(await alarmOf(owned)).toBeLessThan(Date.now() + 10_000), { timeout: 5_000 });
}

/** Resolves once the object has taken in what was sent to it before. */
export async function settled(owned: Owned): Promise<void> {
  await runInDurableObject(progressObject(owned), (_, state) =>
    vi.waitFor(() => expect(state.getWebSockets().filter((s) => s.readyState === WebSocket.OPEN)).toEqual([])),
  );
}
