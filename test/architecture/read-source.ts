/**
 * Owns how the architecture test reads source: files, import lines, function lengths.
 * Invariant: types are blanked out in place, so that every line number is the line in the file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { type Node, parse } from "acorn";
import { fullAncestor } from "acorn-walk";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export type Import = { target: string; isOurs: boolean; isType: boolean; line: number };

/** Every `.ts` file under the folders, relative to the root, with forward slashes. */
export function sourceFiles(folders: string[]): string[] {
  return folders.flatMap((folder) => listed(join(ROOT, folder))).sort();
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.parentPath.includes("node_modules"))
      .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join("/"));
  } catch {
    return [];
  }
}

export function sourceText(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}

/** Static imports and re-exports; relative ones are resolved to a path from the root. `import type` counts too. */
export function importsOf(file: string): Import[] {
  const pattern = /^\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
  const text = sourceText(file);
  return [...text.matchAll(pattern)].map((match) => {
    const specifier = match[2] ?? "";
    const isOurs = specifier.startsWith(".");
    return {
      target: isOurs ? posix.normalize(posix.join(dirname(file), specifier)) : specifier,
      isOurs,
      isType: match[1] !== undefined,
      line: text.slice(0, match.index).split("\n").length,
    };
  });
}

/** `file:line (n lines)` of every function over the limit. A callback of `describe` is a list of tests, not a function. */
export function longFunctions(file: string, limit: number): string[] {
  const code = stripTypeScriptTypes(sourceText(file));
  const tree = parse(code, { ecmaVersion: "latest", sourceType: "module", locations: true });
  const found: string[] = [];
  fullAncestor(tree, (node, _state, ancestors) => {
    if (!/^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type)) return;
    if (isDescribe(ancestors.at(-2))) return;
    const lines = (node.loc?.end.line ?? 0) - (node.loc?.start.line ?? 0) + 1;
    if (lines > limit) found.push(`${file}:${node.loc?.start.line ?? 0} (${lines} lines)`);
  });
  return found;
}

function isDescribe(node: Node | undefined): boolean {
  if (node === undefined || !("callee" in node)) return false;
  return /^describe\b/.test(nameOf(node.callee));
}

/** The leftmost name of a callee: `describe`, `describe.each(...)`, `it.each`. */
function nameOf(callee: unknown): string {
  if (typeof callee !== "object" || callee === null) return "";
  if ("name" in callee) return String(callee.name);
  if ("object" in callee) return nameOf(callee.object);
  return "callee" in callee ? nameOf(callee.callee) : "";
}
