/**
 * Owns what `npm start` prints: where things are, what answers and what does not, what to do next.
 * Invariant: every line is true at the time of printing; no key is printed, only where it lies.
 */
import { relative } from "node:path";
import type { Dependency } from "./dependencies.ts";
import type { Stack } from "./stack.ts";

export function banner(stack: Stack, dependencies: Dependency[]): string {
  const { file } = stack;
  const keys = relative(process.cwd(), `${stack.dataDir}/stack.json`);
  const data = relative(process.cwd(), stack.dataDir);
  const flag = data === ".data" ? "" : ` -- --data ${data}`;
  return [
    "",
    "  Comfy Edge is running. Ctrl-C stops everything.",
    "",
    `  API        ${file.api_url}`,
    `  docs       ${file.docs_url}`,
    `  metrics    ${file.metrics_url}`,
    `  ComfyUI    ${file.comfyui_url || "none"}${stack.agents.some((a) => a.simulator) ? "  (simulator)" : ""}`,
    `  keys       ${keys}`,
    `  logs       ${data}/logs`,
    "",
    ...dependencies.map(dependencyLine),
    "",
    "  Next:",
    `    npm run demo${flag}`,
    `    curl -s ${file.api_url}/health`,
    "",
  ].join("\n");
}

function dependencyLine({ name, ok, detail, tries }: Dependency): string {
  const label = name.padEnd(9);
  return ok
    ? `  ${label}  ok`
    : `  ${label}  down: ${detail} (${tries} tries); started without it, it is used as soon as it answers`;
}
