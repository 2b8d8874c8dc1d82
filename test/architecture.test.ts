/**
 * Owns the rules of DESIGN 5 that a machine can check: who may import whom, and how long a file or function may be.
 * Invariant: a rule is broken by naming the file and the line, never by a count alone.
 */
import { describe, expect, it } from "vitest";
import { importsOf, longFunctions, sourceFiles, sourceText } from "./architecture/read-source.ts";

const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 50;

/** Generated files: their length is not a matter of style. */
const GENERATED: readonly string[] = [];

/** Folder -> what its files may import: folders of ours, and packages. The longest matching folder decides. */
const ALLOWED: Record<string, { ours: string[]; packages: string[] | "any" }> = {
  "src/protocol": { ours: ["src/protocol"], packages: ["zod"] },
  "src/domain": { ours: ["src/domain", "src/protocol"], packages: ["zod", "ipaddr.js"] },
  "src/storage": {
    ours: ["src/storage", "src/domain", "src/protocol", "migrations"],
    packages: ["drizzle-orm", "zod"],
  },
  "src/platform": {
    ours: ["src/platform", "src/protocol"],
    packages: [
      "zod",
      "drizzle-orm",
      "aws4fetch",
      "@noble/hashes",
      "hono",
      "standardwebhooks",
      "@cloudflare/workers-types",
    ],
  },
  "src/objects": {
    ours: ["src/objects", "src/domain", "src/storage", "src/platform", "src/protocol"],
    packages: ["cloudflare:workers", "zod", "drizzle-orm"],
  },
  "src/objects/contract": { ours: ["src/objects/contract", "src/protocol"], packages: [] },
  "src/objects/locate": { ours: ["src/objects/contract", "src/protocol", "src/platform/env"], packages: [] },
  "src/queues": {
    ours: ["src/queues", "src/objects/contract", "src/objects/locate", "src/domain", "src/platform", "src/protocol"],
    packages: ["zod"],
  },
  "src/http": {
    ours: ["src/http", "src/objects/contract", "src/objects/locate", "src/domain", "src/platform", "src/protocol"],
    packages: ["hono", "@hono/zod-openapi", "zod"],
  },
  "src/index": { ours: ["src"], packages: [] },
  "gpu-agent": { ours: ["gpu-agent", "src/protocol"], packages: "any" },
};

const shipped = sourceFiles(["src", "gpu-agent", "dev", "bench", "ops"]);

function ruleFor(file: string) {
  const folder = Object.keys(ALLOWED)
    .filter((prefix) => file === `${prefix}.ts` || file.startsWith(`${prefix}/`))
    .sort((a, b) => b.length - a.length)[0];
  return folder === undefined ? null : ALLOWED[folder];
}

function isAllowed(target: string, allowed: string[]): boolean {
  return allowed.some((prefix) => target === prefix || target === `${prefix}.ts` || target.startsWith(`${prefix}/`));
}

describe("layers", () => {
  it("lets each folder import only the layers below it", () => {
    const broken: string[] = [];
    for (const file of shipped) {
      const rule = ruleFor(file);
      if (!rule) continue;
      for (const { target, isOurs, line } of importsOf(file)) {
        const fine = isOurs
          ? isAllowed(target, rule.ours)
          : rule.packages === "any" || rule.packages.some((p) => target === p || target.startsWith(`${p}/`));
        if (!fine) broken.push(`${file}:${line} imports ${target}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it("keeps the objects behind contract and locate for everyone outside src/objects", () => {
    const open = ["src/objects/contract.ts", "src/objects/locate.ts"];
    const broken = shipped
      .filter((file) => file.startsWith("src/") && !file.startsWith("src/objects/") && file !== "src/index.ts")
      .flatMap((file) => importsOf(file).map((found) => ({ file, ...found })))
      .filter(({ target, isOurs }) => isOurs && target.startsWith("src/objects/") && !open.includes(target))
      .map(({ file, line, target }) => `${file}:${line} imports ${target}`);
    expect(broken).toEqual([]);
  });

  it("keeps the domain pure: nothing async, no clock, no randomness", () => {
    const impure = /\bawait\b|\basync\b|Date\.now|new Date\(\)|Math\.random|crypto\.|setTimeout|fetch\(/;
    const broken = sourceFiles(["src/domain"]).flatMap((file) => impureLines(file, impure));
    expect(broken).toEqual([]);
  });

  it("lets no file import itself in a circle", () => {
    expect(cyclesAmong(shipped)).toEqual([]);
  });
});

describe("sizes", () => {
  it(`keeps every file at ${MAX_FILE_LINES} lines or less`, () => {
    const files = [...shipped, ...sourceFiles(["test"])].filter((file) => !GENERATED.includes(file));
    const long = files
      .map((file) => ({ file, lines: linesOf(file).length }))
      .filter(({ lines }) => lines > MAX_FILE_LINES);
    expect(long.map(({ file, lines }) => `${file} (${lines})`)).toEqual([]);
  });

  it(`keeps every function at ${MAX_FUNCTION_LINES} lines or less, in tests every \`it\``, () => {
    const long = [...shipped, ...sourceFiles(["test"])].flatMap((file) => longFunctions(file, MAX_FUNCTION_LINES));
    expect(long).toEqual([]);
  });

  it("opens every shipped file with a header that says what it owns and its invariant", () => {
    const bare = shipped.filter(
      (file) => !/^(#!.*\n)?\/\*\*[\s\S]*?\bInvariant:[\s\S]*?\*\//.test(linesOf(file).join("\n")),
    );
    expect(bare).toEqual([]);
  });
});

function linesOf(file: string): string[] {
  return sourceText(file).replace(/\n$/, "").split("\n");
}

function impureLines(file: string, pattern: RegExp): string[] {
  return linesOf(file).flatMap((text, i) => {
    const isComment = /^\s*(\*|\/\/|\/\*)/.test(text);
    return !isComment && pattern.test(text) ? [`${file}:${i + 1} ${text.trim()}`] : [];
  });
}

function cyclesAmong(files: string[]): string[] {
  const graph = new Map(
    files.map((file) => [
      file,
      importsOf(file)
        .filter((f) => f.isOurs && !f.isType)
        .map((f) => f.target),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  return cycles;
}
