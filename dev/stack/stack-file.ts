/**
 * Owns `stack.json`: where a running stack is and how to call it (CONTRACT 3).
 * Invariant: readable by its owner only, and there only while the process it names runs.
 */
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const stackFileSchema = z.object({
  api_url: z.url(),
  /** The API Worker without gateway: for measurements. */
  direct_url: z.url(),
  docs_url: z.url(),
  metrics_url: z.url(),
  user_key: z.string(),
  admin_key: z.string(),
  service_key: z.string(),
  agent_token: z.string(),
  /** One URL, or several separated by commas as the agent takes them. */
  comfyui_url: z.string(),
  model: z.string(),
  pid: z.number().int(),
});
export type StackFile = z.infer<typeof stackFileSchema>;

const pathIn = (dataDir: string) => join(dataDir, "stack.json");

export function writeStackFile(dataDir: string, stack: StackFile): void {
  writePrivately(pathIn(dataDir), stack);
}

/** Whole or not at all, and never readable by others, not even for a moment. */
export function writePrivately(path: string, value: unknown): void {
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}

export function removeStackFile(dataDir: string): void {
  rmSync(pathIn(dataDir), { force: true });
}

/** The stack that runs on this data folder; null when there is none, or its process is gone. */
export function readStackFile(dataDir: string): StackFile | null {
  const text = readIfThere(pathIn(dataDir));
  if (text === null) return null;
  const stack = stackFileSchema.safeParse(JSON.parse(text)).data;
  return stack && isAlive(stack.pid) ? stack : null;
}

const holderSchema = z.coerce.number().int().positive();

/**
 * Takes the folder for this process, from before anything of a stack runs until it is given back: `stack.json` is there only
 * once all of it runs. Throws when another living process holds it.
 */
export function holdFolder(dataDir: string): { giveBack: () => void } {
  const path = join(dataDir, "stack.pid");
  const take = () => writeFileSync(path, String(process.pid), { flag: "wx" });
  try {
    take();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    const holder = holderSchema.safeParse(readIfThere(path)).data;
    if (holder !== undefined && isAlive(holder))
      throw new Error(
        `a stack is starting or stopping on ${dataDir} (process ${holder}); if it is none, delete ${path}`,
      );
    // Left behind by a killed one.
    rmSync(path, { force: true });
    take();
  }
  return { giveBack: () => rmSync(path, { force: true }) };
}

export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
