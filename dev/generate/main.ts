/**
 * Owns the documents that are made from code: writes them, or with `--check` says which no longer fit it.
 * Invariant: a document depends on the sources alone, so the same commit always makes the same bytes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configuration } from "./configuration.ts";
import { limitsPage } from "./limits.ts";
import { openApiDocument } from "./openapi.ts";
import { postmanCollection } from "./postman.ts";
import { promisesPage } from "./promises.ts";

const ROOT = new URL("../../", import.meta.url);

async function documents(): Promise<Map<string, string>> {
  const config = configuration(ROOT);
  const openapi = await openApiDocument(config);
  return new Map([
    ["docs/LIMITS.md", limitsPage(config)],
    ["docs/comfy-edge.postman_collection.json", `${JSON.stringify(postmanCollection(openapi), null, 2)}\n`],
    ["test/conformance/promises.md", promisesPage(ROOT)],
  ]);
}

function present(path: URL): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

const isCheck = process.argv.includes("--check");
const stale: string[] = [];
for (const [name, text] of await documents()) {
  const path = new URL(name, ROOT);
  if (present(path) === text) continue;
  stale.push(name);
  if (!isCheck) writeFileSync(fileURLToPath(path), text);
}
if (isCheck && stale.length > 0) {
  console.error(`No longer what the code says: ${stale.join(", ")}. Run \`npm run generate\` and commit.`);
  process.exitCode = 1;
} else console.log(stale.length === 0 ? "Generated documents are current." : `Written: ${stale.join(", ")}`);
