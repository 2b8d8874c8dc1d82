/**
 * Owns how Worker source becomes one module for workerd, the way wrangler bundles it (`npm run check` runs wrangler's own dry run).
 * Invariant: nothing is written into the checkout; two stacks of one checkout never share a build file.
 */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Bundles `entry` (relative to the repository root) to miniflare's list of modules. Throws esbuild's messages when it does not build. */
export async function bundleWorker(entry: string) {
  const result = await build({
    entryPoints: [fromRoot(entry)],
    absWorkingDir: fromRoot(""),
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser", "import"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".sql": "text", ".txt": "text", ".html": "text" },
    define: { "process.env.NODE_ENV": '"production"' },
    sourcemap: "inline",
    logLevel: "silent",
  });
  const [output] = result.outputFiles;
  if (!output) throw new Error(`${entry} bundled to nothing`);
  const path = `${entry.replaceAll("/", "-").replace(/\.ts$/, "")}.mjs`;
  return [{ type: "ESModule" as const, path, contents: output.text }];
}
