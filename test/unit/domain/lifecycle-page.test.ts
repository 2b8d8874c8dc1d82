/**
 * Owns the agreement of docs/job-lifecycle.md with the state table: the matrix, the diagram, a paragraph for each status and event.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  cellOf,
  EVENT_NAMES,
  type EventName,
  isEnded,
  publicState,
  type Rule,
  STATUSES,
  type Status,
  TABLE,
} from "../../../src/domain/job-state.ts";

const page = readFileSync(new URL("../../../docs/job-lifecycle.md", import.meta.url), "utf8");
const live = STATUSES.filter((s) => !isEnded(s));

/** A rule as the page writes it: guard, status reached, error code. */
function written(rule: Rule): string {
  const guard = rule.when === undefined ? "" : `${rule.when.replace("_", " ")}: `;
  const error = rule.error === undefined ? "" : ` ${rule.error === "reported" ? "(as reported)" : `\`${rule.error}\``}`;
  return `${guard}${rule.to}${error}`;
}

function cellText(status: Status, event: EventName): string {
  const cell = cellOf(status, event);
  return typeof cell === "string" ? `*${cell}*` : cell.map(written).join("; ");
}

function matrix(): string {
  const head = `| event | ${live.join(" | ")} | ended |\n| --- | ${live.map(() => "---").join(" | ")} | --- |`;
  const rows = EVENT_NAMES.map(
    (event) => `| \`${event}\` | ${[...live, "failed" as const].map((s) => cellText(s, event)).join(" | ")} |`,
  );
  return [head, ...rows].join("\n");
}

/** Arrows of the diagram between different statuses: `a --> b: event, event`. */
function arrows(): string[] {
  const events = new Map<string, string[]>();
  for (const from of live)
    for (const [event, rules] of Object.entries(TABLE[from]))
      for (const rule of rules)
        if (rule.to !== from)
          events.set(`${from} --> ${rule.to}`, [...(events.get(`${from} --> ${rule.to}`) ?? []), event]);
  return [...events].map(([arrow, names]) => `${arrow}: ${[...new Set(names)].join(", ")}`);
}

describe("docs/job-lifecycle.md", () => {
  it("holds the whole table, cell by cell", () => {
    expect(page).toContain(matrix());
  });

  it("draws every transition and no other", () => {
    const drawn = [...page.matchAll(/^ {4}(\w+ --> \w+: .+)$/gm)].map((m) => m[1]);
    expect(drawn.sort()).toEqual(arrows().sort());
  });

  it("explains every status and every event in a paragraph of its own", () => {
    for (const status of STATUSES) expect(page, status).toMatch(new RegExp(`^\\*\\*${status}\\*\\*`, "m"));
    for (const event of EVENT_NAMES) expect(page, event).toMatch(new RegExp(`^\\*\\*\`${event}\`\\*\\*`, "m"));
  });

  it("says which statuses the outside sees", () => {
    for (const status of STATUSES)
      if (publicState(status) !== status)
        expect(page).toContain(`\`${status}\` is shown as \`${publicState(status)}\``);
  });
});
