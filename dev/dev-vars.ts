/**
 * Owns the variables of a local start: `.dev.vars.example` as data, so that stack, tests and bench agree.
 * Invariant: no other file repeats a development secret.
 */
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";

export function devVars(overrides: Record<string, string> = {}): Record<string, string> {
  const text = readFileSync(new URL("../.dev.vars.example", import.meta.url), "utf8");
  const parsed: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseEnv(text))) if (value !== undefined) parsed[name] = value;
  return { ...parsed, ...overrides };
}
