/**
 * Owns finding the workerd processes that miniflare started, so that the guardian can end them with us.
 * Invariant: only direct children of this process are ever named. Miniflare starts a new workerd when one dies: we look again every 2 s.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Guardian } from "./guardian.ts";

/** Tells the guardian of every workerd under this process, from now on; the returned function stops and takes them back. */
export function watchWorkerd(guardian: Guardian): () => void {
  const known = new Set<number>();
  const look = async () => {
    for (const pid of await workerdPids().catch((): number[] => [])) {
      if (known.has(pid)) continue;
      known.add(pid);
      guardian.watch(pid);
    }
  };
  void look();
  const timer = setInterval(() => void look(), 2_000);
  timer.unref();
  return () => {
    clearInterval(timer);
    for (const pid of known) guardian.forget(pid);
  };
}

/** The workerd processes under this process. */
export async function workerdPids(): Promise<number[]> {
  if (process.platform !== "linux") {
    const { stdout } = await promisify(execFile)("pgrep", ["-P", String(process.pid), "workerd"]);
    return stdout.split("\n").filter(Boolean).map(Number);
  }
  const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8");
  return children
    .split(" ")
    .filter(Boolean)
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0]?.includes("workerd"));
}
