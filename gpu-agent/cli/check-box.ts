/**
 * Owns what the doctor looks at on this machine: the credentials file, the work directory and its disk, ComfyUI's folders.
 * Invariant: what it writes to see whether it can be written is gone again.
 */
import { access, constants, mkdir, rm, rmdir, statfs, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Given } from "../config.ts";
import { credentialsPath, isReadByOthers } from "../credentials-file.ts";
import { bad, type Check, odd, well } from "./check.ts";

const MB = 2 ** 20;
/** Less than this times the least is soon too little. */
const SOON = 4;
const FOLDERS = ["output", "input", "temp"];

export function checkCredentials(given: Given, isFromFile: boolean): Check {
  const name = "credentials";
  if (!isFromFile) return well(name, "the token comes from the environment or a flag");
  const path = credentialsPath(given);
  if (isReadByOthers(path))
    return odd(
      name,
      `${path} can be read by others on this machine`,
      `chmod 600 ${path}; if others use this machine, enroll again`,
    );
  return well(name, `${path}, readable by its owner alone`);
}

export async function checkDisk(workDir: string, leastMb: number): Promise<Check> {
  const name = "disk";
  const probe = join(workDir, `.doctor-${process.pid}`);
  let made: string | undefined;
  try {
    made = await mkdir(workDir, { recursive: true });
    await writeFile(probe, "");
    await rm(probe);
  } catch {
    return bad(
      name,
      `WORK_DIR ${workDir} cannot be written`,
      "give it to the user that runs the agent, or choose another",
    );
  }
  const { bavail, bsize } = await statfs(workDir);
  if (made !== undefined) await removeEmpty(workDir, made);
  const freeMb = Math.floor((bavail * bsize) / MB);
  const finding = `${freeMb} MB free in WORK_DIR ${workDir}, ${leastMb} needed`;
  const facts = { free_bytes: bavail * bsize };
  if (freeMb < leastMb) return bad(name, finding, "make room there: no work is taken", facts);
  if (freeMb < leastMb * SOON) return odd(name, finding, "make room there soon: large outputs may not fit", facts);
  return well(name, finding, facts);
}

/** Folders from `dir` up to `top`, as far as nothing is in them. */
async function removeEmpty(dir: string, top: string): Promise<void> {
  for (let at = dir; at.length >= top.length; at = dirname(at)) await rmdir(at).catch(() => {});
}

/** @param dir of COMFYUI_DIR; null: not given. */
export async function checkFolders(dir: string | null, label: string): Promise<Check> {
  const name = `comfyui_dir${label}`;
  if (dir === null)
    return odd(
      name,
      "COMFYUI_DIR is not set: nothing removes the files of ended jobs",
      "set it to the folder that holds output, input and temp",
    );
  const readable = await Promise.all(FOLDERS.map((folder) => isWritable(join(dir, folder))));
  const missing = FOLDERS.filter((_, i) => !readable[i]);
  if (missing.length === FOLDERS.length)
    return bad(
      name,
      `${dir} holds none of ${FOLDERS.join(", ")} that this user can write`,
      "correct COMFYUI_DIR, or the rights of that folder",
    );
  if (missing.includes("output") || missing.includes("input"))
    return odd(name, `${missing.join(" and ")} in ${dir} cannot be written`, "give it to the user that runs the agent");
  return well(name, dir);
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}
