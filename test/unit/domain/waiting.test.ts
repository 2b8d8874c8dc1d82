/**
 * Owns why a queued job says it waits, when it is rung again, and what a manifest must be.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { artifactsOf, isSameManifest, manifestHolds } from "../../../src/domain/manifest.ts";
import { waitingOf } from "../../../src/domain/waiting.ts";
import { ringWaitMs } from "../../../src/domain/wake.ts";
import type { ManifestEntry } from "../../../src/protocol/agent-api.ts";
import { jobIn, NOW } from "./live-jobs.ts";

const pool = (online: number, paused_until: number | null = null) => ({ agents: { online, busy: 0 }, paused_until });
const note = (kind: string) => ({ agent: "agent-a", until: NOW + 1, missing: [{ kind, name: "x" }] });
const noted = (kind: string) => jobIn("queued", { memo: { attempts: [], events: [], notes: [note(kind)], logs: [] } });

describe("why a job waits", () => {
  it.each([
    ["own_limit", jobIn("queued", { ring_at: null }), pool(1)],
    ["backoff", jobIn("queued", { ring_at: null, not_before: NOW + 5_000 }), pool(1)],
    ["no_agent", jobIn("queued"), pool(0)],
    ["pool_paused", jobIn("queued"), pool(1, NOW + 1)],
    ["all_busy", jobIn("queued"), pool(1)],
    ["all_busy", jobIn("queued"), null],
    ["all_busy", noted("checkpoint"), pool(2)],
    ["no_agent_has_model", noted("checkpoint"), pool(1)],
    ["no_agent_has_node", noted("node"), pool(1)],
  ] as const)("is told as %s", (reason, job, seen) => {
    expect(waitingOf(job, { now: NOW, pool: seen, before: () => 3 })?.reason).toBe(reason);
  });

  it("is not told once an agent has the job", () => {
    for (const status of ["preparing", "running", "canceling"] as const)
      expect(waitingOf(jobIn(status), { now: NOW, pool: null, before: () => 0 })).toBeNull();
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
