/**
 * Owns how an admin route tells the directory what an object has decided.
 * Invariant: never throws, never holds an answer longer than 2 s; a write that failed is logged and counted.
 */
import type { Context } from "hono";
import { type Directory, directoryOf } from "../platform/directory.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { count } from "../platform/metrics.ts";
import type { AppEnv } from "./context.ts";

const PATIENCE_MS = 2_000;

/** Writes the rows and one audit entry. `actor` is a key id, or `bootstrap`. Waits for them, so that a list right after shows them. */
export async function tellDirectory(
  c: Context<AppEnv>,
  entry: { actor: string; action: string; target: string },
  write: (directory: Directory) => Promise<void>,
): Promise<void> {
  const directory = directoryOf(c.env.DIRECTORY);
  const audit = { ...entry, ts: Date.now(), request_id: c.get("request_id") };
  const work = Promise.all([write(directory), directory.recordAudit(audit)]).then(
    () => undefined,
    (error: unknown) => {
      count("comfy_edge_directory_failures_total");
      logLine("error", "directory_failed", { ...entry, request_id: audit.request_id, cause: causeOf(error) });
    },
  );
  c.executionCtx.waitUntil(work);
  await Promise.race([work, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
}
