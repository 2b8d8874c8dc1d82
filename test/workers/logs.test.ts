/**
 * Holds the log lines of a job to their ids: from the request that made it, over the agent that runs it, to its end.
 */
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { METRICS, openAccount, seenAs } from "./support/account.ts";
import { call, claimBody, newAgent, signedRef } from "./support/agent.ts";
import { filesOf, pass } from "./support/attempts.ts";
import { as, person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { quiet } from "./support/steps.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const HEADER = `00-${TRACE}-00f067aa0ba902b7-01`;

beforeAll(openDirectory);
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await quiet();
});

type Line = { event: string; [name: string]: unknown };

/** The product's lines from now on. */
function listen(): Line[] {
  const lines: Line[] = [];
  vi.spyOn(console, "log").mockImplementation((text: string) => void lines.push(JSON.parse(text)));
  return lines;
}
const ended = (lines: Line[]) => lines.filter(({ event }) => event === "job_ended");

it("carries a client's trace with the job to its agent, and into the lines of request, claim and end", async () => {
  const user = await person();
  const agent = await newAgent();
  const lines = listen();
  const ids = { traceparent: HEADER, "X-Request-ID": "req-trace" };
  const { job_id } = await submitted(user.key, { prompt: "a cat" }, ids);
  const claim = await call(agent.token, "/claims", claimBody(signedRef(user.account, job_id)));
  const { lease, traceparent } = await claim.json<{ lease: string; traceparent: string }>();
  expect(traceparent).toBe(HEADER);
  const stop = {
    code: "COMFYUI_EXECUTION",
    message: "a node failed",
    transient: false,
    node_id: null,
    node_type: null,
  };
  const metrics = { prepare_ms: 0, load_ms: 0, run_ms: 0, upload_ms: 0, gpu_seconds: 0, gpu_name: null };
  await call(agent.token, "/leases/fail", { ...stop, metrics }, { lease });
  const requests = lines.filter(({ event }) => event === "request");
  expect(requests).toMatchObject([
    { request_id: "req-trace", trace_id: TRACE, account: user.account, keyid: user.keyid, job: job_id, status: 202 },
    { agent: agent.agent, job: job_id, status: 200 },
    { agent: agent.agent, job: job_id, status: 200 },
  ]);
  expect(ended(lines)).toMatchObject([
    {
      account: user.account,
      job: job_id,
      status: "failed",
      code: "COMFYUI_EXECUTION",
      attempt: 1,
      agent: agent.agent,
      request_id: "req-trace",
      trace_id: TRACE,
    },
  ]);
});

it("passes no trace on that is not of the form", async () => {
  const user = await person();
  const agent = await newAgent();
  const { job_id } = await submitted(user.key, { prompt: "a cat" }, { traceparent: `${HEADER}; drop` });
  const claim = await call(agent.token, "/claims", claimBody(signedRef(user.account, job_id)));
  expect(await claim.json()).toMatchObject({ traceparent: null });
});

it("writes one line for each end, whoever brought it, and none when it was undone or is said again", async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  const account = await openAccount();
  const jobs = [
    await account.submitOne(),
    await account.submitOne(),
    await account.submitOne({ queue_timeout_ms: 60_000 }),
  ] as const;
  const lease = await account.lease(jobs[0]);
  const lines = listen();
  const files = await filesOf(account, lease);
  for (let n = 0; n < 2; n++) await account.stub().complete(lease, files, seenAs(files), METRICS);
  for (let n = 0; n < 2; n++) await account.stub().cancelJob(account.auth, jobs[1]);
  // The deadline: its end is the alarm's.
  await pass(account, 61_000);
  await pass(account, 3_600_000);
  expect(ended(lines).map(({ job, status, code }) => [job, status, code])).toEqual([
    [jobs[0], "succeeded", undefined],
    [jobs[1], "canceled", undefined],
    [jobs[2], "expired", "QUEUE_TIMEOUT"],
  ]);
});

it("F100: takes nothing from a job when no line can be written", async () => {
  const user = await person();
  const agent = await newAgent();
  const sink = vi.spyOn(console, "log").mockImplementation(() => {
    throw new Error("no log today");
  });
  const { job_id } = await submitted(user.key, { prompt: "a cat" });
  const claim = await call(agent.token, "/claims", claimBody(signedRef(user.account, job_id)));
  expect(claim.status).toBe(200);
  const { lease } = await claim.json<{ lease: string }>();
  const [stopped, gone] = [
    { how: "interrupted", gpu_idle_after_ms: 1 },
    { reason: "drain", missing: [] },
  ];
  expect((await call(agent.token, "/leases/release", gone, { lease })).status).toBe(200);
  expect((await send(`/api/v1/jobs/${job_id}`, { ...as(user.key), method: "DELETE" })).status).toBe(202);
  expect((await call(agent.token, "/leases/stopped", stopped, { lease })).status).toBe(200);
  expect(await (await send(`/api/v1/jobs/${job_id}`, as(user.key))).json()).toMatchObject({ status: "canceled" });
  expect(sink).toHaveBeenCalled();
});
