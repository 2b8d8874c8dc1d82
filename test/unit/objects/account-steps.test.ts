/**
 * Owns the rule that makes crash points findable: in the account object nothing awaits but through a named step.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const FOLDER = new URL("../../../src/objects/account/", import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".ts"));
const textOf = (name: string) => readFileSync(new URL(name, FOLDER), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");

/** Functions and methods of the account object that are async, or are handed in as such: awaiting them leads to a step. */
const own = new Set(
  files.flatMap((name) => [
    ...[...textOf(name).matchAll(/async (?:function )?(\w+)\s*(?:<[^>]*>)?\(/g)].map((m) => m[1] ?? ""),
    ...[...textOf(name).matchAll(/const (\w+) = async \(/g)].map((m) => m[1] ?? ""),
  ]),
);
/** `Promise.all` of own functions; `inTime` of a step; a hint's own methods; the two waits inside `step` itself. */
const ALLOWED = new Set([
  "step",
  "Promise.all",
  "inTime",
  "ctx.hints.publish",
  "send",
  "work",
  "watcher",
  "storage.getAlarm",
]);
/** Waits for what another call began: that call passes a step of its own. */
const OTHERS = ["telling.get", "last.asked", "entry.asked"];
for (const wait of OTHERS) ALLOWED.add(wait);

describe("the verb files of the account object", () => {
  it("await nothing but named steps and each other", () => {
    const strays = files.flatMap((name) =>
      [...textOf(name).matchAll(/\bawait\b\s*\(?\s*(?:await\s+)?([\w.]+)/g)]
        .map((m) => m[1] ?? "")
        .filter((callee) => !ALLOWED.has(callee) && !own.has(callee))
        .map((callee) => `${name}: await ${callee}`),
    );
    expect(strays).toEqual([]);
  });

  it("give every step a name of its own", () => {
    const names = files.flatMap((name) => [...textOf(name).matchAll(/\bstep\("([^"]+)"/g)].map((m) => m[1]));
    expect(names.length).toBeGreaterThan(8);
    expect(new Set(names).size).toBe(names.length);
  });

  it("hand no async function to a transaction", () => {
    for (const name of files) expect(textOf(name), name).not.toMatch(/transact\(\s*async/);
  });
});
