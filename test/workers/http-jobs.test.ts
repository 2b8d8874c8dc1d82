/**
 * Holds the reading side of /api/v1 to CONTRACT 1, against real account objects: views, links, lists, events, usage, documents.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { type JobId, jobIdSchema, type LeaseFields } from "../../src/protocol/ids.ts";
import { bindings, fileOf, METRICS, POOL, seenAs } from "./support/account.ts";
import { as, ORIGIN, type Person, person, post, send, submitted } from "./support/client.ts";

const SEED = "18446744073709551615";
const GRAPH = `{"1": {"class_type": "SaveImage", "inputs": {"seed": ${SEED}}}}`;

async function submitOne(user: Person, body = `{"workflow": ${GRAPH}}`): Promise<JobId> {
  const answer = await send("/api/v1/jobs", post(user.key, body));
  return jobIdSchema.parse((await answer.json<{ job_id: string }>()).job_id);
}

async function leased(user: Person, job: JobId): Promise<LeaseFields> {
  const agent = { agent: "agent-a", name: "a", pool: POOL };
  const claim_id = "c".repeat(20);
  const granted = await accountOf(bindings, user.account).claim({
    job,
    attempt: 1,
    claim_id,
    agent,
    slot: 0,
    ahead: false,
  });
  if (!granted.ok) throw new Error(granted.refusal);
  return { account: user.account, job, attempt: 1, nonce: granted.value.nonce };
}

/** A job that ended with one picture and one text. */
async function finished(user: Person): Promise<JobId> {
  const job = await submitOne(user);
  const lease = await leased(user, job);
  const stub = accountOf(bindings, user.account);
  const grant = await stub.grantUploads(lease);
  if (!grant.ok) throw new Error("no grant");
  const picture = { ...fileOf(grant.value.prefix), seed: SEED };
  const text = {
    ...fileOf(grant.value.prefix, 1),
    key: null,
    md5: null,
    type: "text" as const,
    text: "a lighthouse, I think",
  };
  const done = await stub.complete(lease, [picture, text], seenAs([picture]), METRICS);
  if (!done.ok) throw new Error("not completed");
  return job;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a finished job", () => {
  it("shows its artifacts with links signed now, and the seed to its last digit", async () => {
    const user = await person();
    const job = await finished(user);
    const answer = await send(`/api/v1/jobs/${job}`, as(user.key));
    const text = await answer.text();
    expect(text).toContain(`"seed":${SEED}`);
    const view = JSON.parse(text);
    expect(view).toMatchObject({ status: "succeeded", progress: 1, error: null });
    const [picture, words] = view.result.artifacts;
    expect(view.result_url).toBe(picture.url);
    expect(new URL(picture.url).searchParams.has("X-Amz-Signature")).toBe(true);
    expect(Date.parse(picture.url_expires_at)).toBeGreaterThan(Date.now() + 86_300_000);
    expect(words).toMatchObject({ url: null, url_expires_at: null, key: null, text: "a lighthouse, I think" });
    expect(Object.keys(picture).sort()).toEqual(
      "content_type filename height index key meta node_id seed sha256 size_bytes text type url url_expires_at width".split(
        " ",
      ),
    );
    expect(view.receipt.gpu_seconds).toBe(METRICS.gpu_seconds);
  });

  it("sends a reader of an artifact to a fresh link, or gives the text itself as an attachment (I34)", async () => {
    const user = await person();
    const job = await finished(user);
    const picture = await send(`/api/v1/jobs/${job}/artifacts/0`, as(user.key));
    expect(picture.status).toBe(302);
    expect(picture.headers.get("Location")).toContain("X-Amz-Signature=");
    const words = await send(`/api/v1/jobs/${job}/artifacts/1`, as(user.key));
    expect(await words.text()).toBe("a lighthouse, I think");
    expect(words.headers.get("Content-Disposition")).toBe("attachment");
    expect(words.headers.get("Content-Security-Policy")).toContain("sandbox");
    expect(words.headers.get("Content-Type")).toMatch(/^text\/plain/);
    expect(words.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(words.headers.get("Cross-Origin-Resource-Policy")).toBe("same-origin");
    expect(words.headers.get("Referrer-Policy")).toBe("no-referrer");
    expect(words.headers.get("Cache-Control")).toBe("no-store");
    for (const n of ["2", "-1", "x", "00000"])
      expect((await send(`/api/v1/jobs/${job}/artifacts/${n}`, as(user.key))).status).toBe(404);
  });

  it("answers 304 to its tag until half the life of its links is over", async () => {
    const user = await person();
    const path = `/api/v1/jobs/${await finished(user)}`;
    const tag = (await send(path, as(user.key))).headers.get("ETag") ?? "";
    const again = await send(path, as(user.key, { "If-None-Match": tag }));
    expect(again.status).toBe(304);
    expect(await again.text()).toBe("");
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 43_200_000);
    expect((await send(path, as(user.key, { "If-None-Match": tag }))).status).toBe(200);
  });

  it("is not changed by a cancel: 200 with the view", async () => {
    const user = await person();
    const answer = await send(`/api/v1/jobs/${await finished(user)}`, { ...as(user.key), method: "DELETE" });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ status: "succeeded", cancel_requested: false });
  });
});

describe("cancel", () => {
  it("ends a queued job at once with 202, asks a running one to stop, and says 200 once it is over", async () => {
    const user = await person();
    const queued = await submitOne(user);
    const cancel = (job: JobId) => send(`/api/v1/jobs/${job}/cancel`, { ...as(user.key), method: "POST" });
    const first = await cancel(queued);
    expect(first.status).toBe(202);
    expect(await first.json()).toMatchObject({ status: "canceled", result: null });
    expect((await cancel(queued)).status).toBe(200);
    const running = await submitOne(user);
    const lease = await leased(user, running);
    for (let i = 0; i < 2; i++) {
      const answer = await cancel(running);
      expect(answer.status).toBe(202);
      expect(await answer.json()).toMatchObject({ status: "canceling", cancel_requested: true });
    }
    await accountOf(bindings, user.account).stopped(lease, { how: "interrupted", gpu_idle_after_ms: 5 });
    expect((await cancel(running)).status).toBe(200);
  });

  it("lists every transition by revision, from the one asked for", async () => {
    const user = await person();
    const job = await submitOne(user);
    await send(`/api/v1/jobs/${job}`, { ...as(user.key), method: "DELETE" });
    const events = async (after: string) =>
      (await send(`/api/v1/jobs/${job}/events?format=json${after}`, as(user.key))).json<{ events: object[] }>();
    const all = await events("");
    expect(all.events).toMatchObject([
      { revision: 1, from: null, to: "queued" },
      { revision: 2, from: "queued", to: "canceled", ts: expect.stringMatching(/^\d{4}-.*Z$/) },
    ]);
    expect((await events("&after=1")).events).toEqual(all.events.slice(1));
    expect((await send(`/api/v1/jobs/${job}/events?format=json&after=x`, as(user.key))).status).toBe(400);
  });
});

describe("the list", () => {
  type Page = { jobs: Record<string, unknown>[]; total: number; next_cursor: string | null };

  it("pages newest first by cursor and Link, without params and logs, and filters", async () => {
    const user = await person();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++)
      ids.unshift((await submitted(user.key, { prompt: "a", metadata: { n: String(i) } })).job_id);
    await send(`/api/v1/jobs/${ids[0]}`, { ...as(user.key), method: "DELETE" });
    const seen: unknown[] = [];
    let path: string | null = "/api/v1/jobs?limit=2";
    while (path !== null) {
      const answer: Response = await send(path, as(user.key));
      const page = await answer.json<Page>();
      expect(page.total).toBe(5);
      seen.push(...page.jobs.map((job) => job.job_id));
      const link = /^<(.+)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1] ?? null;
      expect(link === null).toBe(page.next_cursor === null);
      path = link?.replace(ORIGIN, "") ?? null;
    }
    expect(seen).toEqual(ids);
    const asked = async (query: string) => (await send(`/api/v1/jobs?${query}`, as(user.key))).json<Page>();
    const canceled = await asked("status=cancelled");
    expect(canceled.jobs.map((job) => job.job_id)).toEqual([ids[0]]);
    expect(canceled.jobs[0]).not.toHaveProperty("params");
    expect(canceled.jobs[0]).not.toHaveProperty("logs");
    expect((await asked("metadata.n=3")).jobs.map((job) => job.job_id)).toEqual([ids[1]]);
    expect((await asked("offset=4")).jobs.map((job) => job.job_id)).toEqual([ids[4]]);
    expect((await asked("created_before=2020-01-01T00:00:00Z")).jobs).toEqual([]);
  });

  it("sums up the use of an account as CONTRACT has it", async () => {
    const user = await person("user", "pro");
    await submitted(user.key, { prompt: "a" });
    const usage = await (await send("/api/v1/usage", as(user.key))).json<Record<string, unknown>>();
    expect(usage).toMatchObject({
      role: "pro",
      region: "wnam",
      limits: { daily: 100, max_active: 25, max_running: 3 },
      today: { jobs: 1, remaining: 99, resets_at: expect.stringMatching(/T00:00:00\.000Z$/) },
      active: 1,
      running: 0,
      gpu_seconds: 0,
    });
  });
});
