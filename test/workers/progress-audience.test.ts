/**
 * Owns what an agent is told of who watches its job, and what is spared where nobody does.
 */
import { evictDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { progressOf } from "../../src/objects/locate.ts";
import { bindings } from "./support/account.ts";
import { agentSocket, type Frame, watch } from "./support/sockets.ts";
import { progress, progressObject, shows, withJob, withRunningJob } from "./support/watched-job.ts";

const audience =
  (viewers: boolean, previews = false) =>
  (f: Frame) =>
    f.type === "audience" && f.viewers === viewers && f.previews === previews;

it("An agent is told that nobody watches, when the first viewer comes, who wants previews, and when the last goes", async () => {
  const job = await withRunningJob();
  await job.socket.frame(audience(false));
  const one = await watch(job.job, job.key);
  await job.socket.frame(audience(true));
  const two = await watch(job.job, job.key, "?previews=1");
  await job.socket.frame(audience(true, true));
  expect(job.socket.types).toEqual(["audience", "audience", "audience"]);
  two.socket.close();
  await job.socket.until(() => job.socket.frames.length === 4, "the loss of previews");
  one.socket.close();
  await job.socket.until(() => job.socket.frames.length === 5, "the last one's going");
  expect(job.socket.frames.slice(3)).toMatchObject([
    { viewers: true, previews: false },
    { viewers: false, previews: false },
  ]);
});

it("Who polls has the agent speak for a while, told once in 5 s", async () => {
  const job = await withRunningJob();
  await job.socket.frame(audience(false));
  await progressOf(bindings, job.account, job.job).live();
  await progressOf(bindings, job.account, job.job).live();
  await job.socket.frame((f) => f.type === "audience" && f.for_ms === 10_000);
  expect(job.socket.frames).toHaveLength(2);
});

it("A viewer of a job that an earlier attempt's agent spoke for sees the present attempt alone", async () => {
  const job = await withJob();
  const lease = await job.agent.lease(job.job);
  const first = await agentSocket(lease);
  first.say(progress(1, 0.4));
  // As its successor's would be: the account alone knows that there is none.
  const second = await agentSocket({ ...lease, attempt: 2 });
  await first.frame((f) => f.type === "lost");
  second.say(progress(1, 0.9));
  const viewer = await watch(job.job, job.key);
  await second.frame((f) => f.type === "lost");
  await viewer.frame((f) => f.type === "status" && f.status === "running");
  expect(viewer.frames.some(shows(0.9))).toBe(false);
});

it("An agent that comes back after a cancel hears of it, although it was away when it was told", async () => {
  const job = await withRunningJob();
  job.socket.socket.close();
  await job.socket.closed;
  await progressOf(bindings, job.account, job.job).pushCancel(1);
  const again = await agentSocket(job.lease);
  await again.frame((f) => f.type === "cancel");
});

it("An object that began anew in between tells the agent when the audience changes", async () => {
  const job = await withRunningJob();
  await job.socket.frame(audience(false));
  await evictDurableObject(progressObject(job));
  await watch(job.job, job.key);
  await job.socket.frame(audience(true));
});
