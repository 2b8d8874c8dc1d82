/**
 * Owns why a queued job says it waits, when it is rung again, and what a manifest must be.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LiveJob } from "../../../src/domain/live-job.ts";
import { artifactsOf, isSameManifest, manifestHolds } from "../../../src/domain/manifest.ts";
import { NOT_FOR_YOU_MS } from "../../../src/domain/retry-policy.ts";
import { typicalRuns } from "../../../src/domain/typical-runs.ts";
import { type PoolView, type Seen, waitingOf } from "../../../src/domain/waiting.ts";
import { ringWaitMs } from "../../../src/domain/wake.ts";
import { workflowShape } from "../../../src/domain/workflow-shape.ts";
import type { ManifestEntry } from "../../../src/protocol/agent-api.ts";
import { jobIn, NOW } from "./live-jobs.ts";

const pool = (online: number, paused_until: number | null = null, told_at = 0): PoolView => ({
  able: Array.from({ length: online }, (_, n) => ({ agent: `agent-${"ab"[n]}`, told_at })),
  paused_until,
  typical_ms: { "0123456789abcdef": 7_000 },
});
const UNTIL = NOW + NOT_FOR_YOU_MS - 1_000;
const note = (agent: string, ...missing: [kind: string, name: string][]) => ({
  agent,
  until: UNTIL,
  missing: missing.map(([kind, name]) => ({ kind, name })),
});
const noted = (...notes: ReturnType<typeof note>[]) =>
  jobIn("queued", { memo: { attempts: [], events: [], notes, logs: [] } });
const noModel = noted(note("agent-a", ["model", "x"]));
const inBackoff = { ring_at: null, not_before: NOW + 5_000 };
const seen = (over: Partial<Seen> = {}): Seen => ({
  now: NOW,
  pool: pool(1),
  shape: null,
  places: 1,
  before: () => 3,
  ...over,
});

describe("why a job waits", () => {
  it.each([
    ["own_limit", jobIn("queued", { ring_at: null }), pool(1)],
    ["own_limit", jobIn("queued", { ring_at: null }), null],
    ["backoff", jobIn("queued", inBackoff), pool(1)],
    ["no_agent", jobIn("queued"), pool(0)],
    ["pool_paused", jobIn("queued"), pool(1, NOW + 1)],
    ["all_busy", jobIn("queued"), pool(1)],
    ["all_busy", jobIn("queued"), null],
    ["all_busy", noModel, pool(2)],
    ["no_agent_has_model", noModel, pool(1)],
    ["no_agent_has_model", { ...noModel, ...inBackoff }, pool(1)],
    ["no_agent_has_node", noted(note("agent-a", ["node", "X"])), pool(1)],
    // The agent that lacked it has gone, or has told of other models since.
    ["all_busy", noted(note("agent-z", ["model", "x"])), pool(1)],
    ["all_busy", noModel, pool(1, null, NOW)],
  ] as const)("is told as %s", (reason, job, view) => {
    expect(waitingOf(job, seen({ pool: view }))?.reason).toBe(reason);
  });

  it("names what no agent has, else what each of them lacks", () => {
    const missing = (job: LiveJob) => waitingOf(job, seen({ pool: pool(2) }))?.missing.map(({ name }) => name);
    expect(missing(noted(note("agent-a", ["model", "x"], ["model", "y"]), note("agent-b", ["model", "y"])))).toEqual([
      "y",
    ]);
    expect(missing(noted(note("agent-a", ["model", "x"]), note("agent-b", ["node", "Y"])))).toEqual(["x", "Y"]);
  });

  it("is not told once an agent has the job", () => {
    for (const status of ["preparing", "running", "canceling"] as const)
      expect(waitingOf(jobIn(status), seen({ pool: null }))).toBeNull();
  });
});

describe("how long a job still waits and runs", () => {
  const eta = (job: LiveJob, over: Partial<Seen> = {}) =>
    waitingOf(job, seen({ shape: "0123456789abcdef", ...over }))?.eta_ms;

  it("is what its like took, after the account's own jobs before it, as many at once as its role lets run", () => {
    expect(eta(jobIn("queued"), { before: () => 0 })).toBe(7_000);
    expect(eta(jobIn("queued", { ring_at: null }), { before: () => 3 })).toBe(4 * 7_000);
    expect(eta(jobIn("queued", { ring_at: null }), { before: () => 3, places: 2 })).toBe(2 * 7_000);
    expect(eta(jobIn("queued", inBackoff))).toBe(5_000 + 7_000);
  });

  it("is not guessed: too few of its like have run, too many wait to be counted, or nobody can say", () => {
    expect(eta(jobIn("queued"), { shape: "fedcba9876543210" })).toBeNull();
    expect(eta(jobIn("queued"), { shape: null })).toBeNull();
    expect(eta(jobIn("queued"), { before: () => null })).toBeNull();
    for (const [job, view] of [
      [jobIn("queued"), pool(0)],
      [jobIn("queued"), pool(1, NOW + 1)],
      [noModel, pool(1)],
      [jobIn("queued"), null],
    ] as const)
      expect(eta(job, { pool: view })).toBeNull();
  });

  it("is the median of the runs of one shape, from three on", () => {
    const runs = (shape: string, ...times: number[]) => times.map((run_ms) => ({ shape, run_ms }));
    expect(typicalRuns([...runs("a", 5, 900, 7), ...runs("b", 1, 2), ...runs("c", 4, 1, 2, 3)])).toEqual({
      a: 7,
      c: 3,
    });
  });
});

describe("the shape of a workflow", () => {
  const graph = (seed: number, text: string, joined: unknown) => ({
    "6": { class_type: "CLIPTextEncode", inputs: { text, clip: ["4", 1] } },
    "3": { class_type: "KSampler", inputs: { seed, positive: joined } },
  });
  const shape = (value: object) => workflowShape(JSON.parse(JSON.stringify(value)));

  it("is the same whatever the literals and the order, and another with another node or joint", () => {
    const one = shape(graph(1, "a", ["6", 0]));
    const { "3": sampler, "6": encoder } = graph(2, "b", ["6", 0]);
    expect(shape({ "3": sampler, "6": encoder })).toBe(one);
    expect(shape(graph(1, "a", ["6", 1]))).not.toBe(one);
    expect(shape(graph(1, "a", 5))).not.toBe(one);
    expect(shape({ "3": sampler, "6": { ...encoder, class_type: "Other" } })).not.toBe(one);
  });
});

describe("the wait for the next doorbell", () => {
  it("doubles from 60 s to 15 min, each time within a fifth", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (rings, random) => {
        const base = Math.min(60_000 * 2 ** (rings - 1), 900_000);
        const wait = ringWaitMs(rings, random);
        return wait >= base * 0.8 - 1 && wait <= base * 1.2 + 1;
      }),
    );
  });
});

const PREFIX = "a7/u000000000000000/j_0123456789ab/1-00000000";
const entry = (over: Partial<ManifestEntry> = {}): ManifestEntry => ({
  name: "a.png",
  key: `${PREFIX}/0.png`,
  type: "image",
  content_type: "image/png",
  size_bytes: 10,
  md5: "0".repeat(32),
  sha256: "0".repeat(64),
  node_id: "9",
  width: 1,
  height: 1,
  seed: null,
  text: null,
  ...over,
});
const SEEN = { key: `${PREFIX}/0.png`, size_bytes: 10, md5: "0".repeat(32) };

describe("a manifest", () => {
  it("holds when each file is in the bucket with the size and MD5 it names", () => {
    expect(manifestHolds([entry()], [SEEN], PREFIX)).toBe(true);
  });

  it.each([
    ["another size", [entry()], [{ ...SEEN, size_bytes: 11 }]],
    ["another MD5", [entry()], [{ ...SEEN, md5: "1".repeat(32) }]],
    ["nothing in the bucket", [entry()], [{ key: SEEN.key, size_bytes: null, md5: null }]],
    ["a key nobody looked at", [entry()], []],
    ["an object whose MD5 the bucket does not know", [entry()], [{ ...SEEN, md5: null }]],
    ["no MD5 of its own", [entry({ md5: null })], [SEEN]],
    ["one file twice", [entry(), entry()], [SEEN]],
    ["neither file nor text", [entry({ key: null, md5: null })], []],
    ["a key of another attempt", [entry({ key: "a7/x/0.png" })], [{ ...SEEN, key: "a7/x/0.png" }]],
    ["a key that only begins alike", [entry({ key: `${PREFIX}1/0.png` })], [{ ...SEEN, key: `${PREFIX}1/0.png` }]],
  ] as const)("does not hold with %s", (_, entries, seen) => {
    expect(manifestHolds(entries, seen, PREFIX)).toBe(false);
  });

  it("may hold text without a file", () => {
    expect(manifestHolds([entry({ key: null, md5: null, text: "hello" })], [], PREFIX)).toBe(true);
  });

  it("is the same again only with the same files in the same order (I23)", () => {
    const committed = artifactsOf([entry()], "7");
    expect(committed[0]).toMatchObject({ index: 0, seed: "7", filename: "a.png" });
    expect(isSameManifest([entry()], committed)).toBe(true);
    expect(isSameManifest([entry({ sha256: "1".repeat(64) })], committed)).toBe(false);
    expect(isSameManifest([], committed)).toBe(false);
  });
});
