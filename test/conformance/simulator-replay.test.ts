/**
 * The simulator, held against every recording of a real ComfyUI 0.3.64: each request again, each frame again.
 */
import { rmSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { startSimulator } from "../../gpu-agent/simulator/simulator.ts";
import { ARGUED } from "../support/simulator/argued.ts";
import { Comparison } from "../support/simulator/compare.ts";
import { likeRecorded } from "../support/simulator/like-recorded.ts";
import { readRecording, recordingNames, recordingsAreHere } from "../support/simulator/recording.ts";
import { type Outcome, replay } from "../support/simulator/replay.ts";
import { SKIP_REASONS } from "../support/skip-reasons.ts";

/** 02 goes on in the server of 01. */
const BEFORE: Record<string, string> = { "02-cached.json": "01-success.json" };

type Row = { recording: string; requests: number; frames: number; argued: string; unargued: number };
const rows: Row[] = [];

async function replayed(name: string): Promise<{ outcome: Outcome; comparison: Comparison }> {
  const { options, folder } = likeRecorded(name);
  const simulator = await startSimulator(options);
  const comparison = new Comparison();
  try {
    const before = BEFORE[name];
    if (before !== undefined) await replay(readRecording(before), simulator.url, new Comparison());
    return { outcome: await replay(readRecording(name), simulator.url, comparison), comparison };
  } finally {
    await simulator.close();
    rmSync(folder, { recursive: true });
  }
}

const title = recordingsAreHere() ? "replay of the recordings" : `replay skipped: ${SKIP_REASONS.noRecordings}`;

describe.skipIf(!recordingsAreHere())(title, () => {
  it.each(recordingNames())(
    "answers every request and sends every frame of %s as the real server did",
    async (name) => {
      const { outcome, comparison } = await replayed(name);
      const expected = ARGUED.filter(({ recordings }) => recordings.test(name));
      const unargued = comparison.differences.filter(
        (difference) => !expected.some((each) => each.matches(difference)),
      );
      const found = expected.filter((each) => comparison.differences.some((difference) => each.matches(difference)));
      const argued = found.map((each) => each.name).join(", ") || "none";
      rows.push({
        recording: name,
        requests: outcome.exchanges,
        frames: outcome.frames,
        argued,
        unargued: unargued.length,
      });
      expect(unargued).toEqual([]);
    },
  );

  it("has no argument left for a difference that no longer exists", () => {
    const used = new Set(rows.flatMap((row) => row.argued.split(", ")));
    // Which order the statuses fall in is a matter of chance on both sides.
    const unused = ARGUED.filter(({ name }) => name !== "status position" && !used.has(name)).map(({ name }) => name);
    expect(unused).toEqual([]);
  });

  afterAll(() => {
    console.table(rows);
    for (const { name, reason } of ARGUED) console.log(`${name}: ${reason}`);
  });
});
