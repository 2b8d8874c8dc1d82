/**
 * Owns the start of the bare baseline on the same runtime as the product, in a process of its own.
 * Invariant: measured on its direct socket, like the product.
 */
import "../dev/stack/telemetry-off.ts";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/stack/bundle.ts";

const NAME = "bare";

export type Bare = { url: string; stop(): Promise<void> };

/** With the product's compatibility date: dates change what the runtime does. */
export async function startBare(dataDir: string): Promise<Bare> {
  const toml = readFileSync(new URL("../wrangler.toml", import.meta.url), "utf8");
  const compatibilityDate = /^compatibility_date = "([0-9-]+)"$/m.exec(toml)?.[1];
  if (compatibilityDate === undefined) throw new Error("wrangler.toml names no compatibility_date");
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      telemetry: { enabled: false },
      logRequests: false,
      resourcePersistencePath: join(dataDir, "bare"),
      workers: [
        {
          name: NAME,
          compatibilityDate,
          modules: await bundleWorker("bench/workers/bare/index.ts"),
          durableObjects: {
            BARE: { className: "BareObject", useSQLite: true },
            FAN: { className: "FanObject", useSQLite: true },
          },
          unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
        },
      ],
    }),
  );
  await miniflare.ready;
  const url = (await miniflare.unsafeGetDirectURL(NAME)).origin;
  return { url, stop: () => miniflare.dispose() };
}
