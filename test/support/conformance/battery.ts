/**
 * Owns how a battery of named checks is run and reported: one test per name and round, one JSON report at the end.
 * Invariant: a check is ok only if it was ok in every round; the report is written even when checks fail.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, it } from "vitest";

export const REPORT_FOLDER = ".data/conformance";

type Details = { readonly [name: string]: unknown };
type Entry = { name: string; group: string; ok: boolean; rounds: number; passed: number; details: Details };

export type Battery = {
  /** Registers a test. What it returns becomes the check's details; of several rounds the last or the failed one's. */
  check(group: string, name: string, run: () => Promise<Details>, timeoutMs?: number): void;
  /** Adds something to the report beside the checks. */
  note(name: string, value: unknown): void;
  /** Keeps a produced file beside the report; returns its path. */
  keep(fileName: string, bytes: Uint8Array): string;
};

/** To be called inside `describe` or at the top of a file; writes `<name>.json` after the last test. */
export function battery(name: string, target: () => string): Battery {
  const entries = new Map<string, Entry>();
  const notes: { [name: string]: unknown } = {};
  const startedAt = new Date();
  afterAll(() => {
    const tests = [...entries.values()];
    const passed = tests.filter(({ ok, rounds }) => ok && rounds > 0).length;
    const totals = { tests: tests.length, passed, failed: tests.length - passed };
    const finishedAt = new Date();
    const report = {
      battery: name,
      api: target(),
      started_at: startedAt,
      finished_at: finishedAt,
      totals,
      ...notes,
      tests,
    };
    keep(`${name}.json`, Buffer.from(`${JSON.stringify(report, null, 2)}\n`));
  });
  return {
    check: (group, checkName, run, timeoutMs = 120_000) => {
      const entry = entries.get(checkName) ?? { name: checkName, group, ok: true, rounds: 0, passed: 0, details: {} };
      entries.set(checkName, entry);
      it(checkName, () => recorded(entry, run), timeoutMs);
    },
    note: (key, value) => {
      notes[key] = value;
    },
    keep,
  };
}

async function recorded(entry: Entry, run: () => Promise<Details>): Promise<void> {
  entry.rounds += 1;
  try {
    const details = await run();
    entry.passed += 1;
    if (entry.ok) entry.details = details;
  } catch (error) {
    entry.ok = false;
    entry.details = { error: String(error) };
    throw error;
  }
}

function keep(fileName: string, bytes: Uint8Array): string {
  mkdirSync(REPORT_FOLDER, { recursive: true });
  const path = join(REPORT_FOLDER, fileName);
  writeFileSync(path, bytes);
  return path;
}

/** Milliseconds to one decimal: smallest, median, 95th percentile, largest. */
export function spread(values: readonly number[]): { min: number; p50: number; p95: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? sorted[0] ?? 0) * 10) / 10;
  return { min: at(0), p50: at(0.5), p95: at(0.95), max: at(1) };
}
