/**
 * Owns the file that keeps an agent's token and its control plane, written once by `enroll`.
 * Invariant: readable by its owner alone, whole or not there; in the form of an env file, so that systemd and containers read it too.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export type Credentials = { CONTROL_URL: string; AGENT_TOKEN: string };
export type CredentialsFile = Partial<Credentials>;

const FILE_NAME = "agent.env";
export const DEFAULT_WORK_DIR = ".data/agent";

/** Where the file is: as named, else in the work directory. */
export function credentialsPath(given: { CREDENTIALS_FILE?: string; WORK_DIR?: string }): string {
  return resolve(given.CREDENTIALS_FILE ?? join(given.WORK_DIR ?? DEFAULT_WORK_DIR, FILE_NAME));
}

/** What the file says; null: it is not there or cannot be read. Other lines are left alone. */
export function readCredentials(path: string): CredentialsFile | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  const said: CredentialsFile = {};
  for (const line of text.split("\n")) {
    const [, name, value] = /^\s*(CONTROL_URL|AGENT_TOKEN)\s*=\s*(\S+)\s*$/.exec(line) ?? [];
    if (name === "CONTROL_URL" || name === "AGENT_TOKEN") said[name] = value ?? "";
  }
  return said;
}

const HEADER = "# Written by gpu-agent enroll. Who reads this file can act as this agent.";

/** @param before what the file held: settings of others in it stay. */
export function credentialsText({ CONTROL_URL, AGENT_TOKEN }: Credentials, before = ""): string {
  const others = before
    .split(/\r?\n/)
    .filter((line) => line !== "" && line !== HEADER && !/^\s*(CONTROL_URL|AGENT_TOKEN)\s*=/.test(line));
  return [HEADER, `CONTROL_URL=${CONTROL_URL}`, `AGENT_TOKEN=${AGENT_TOKEN}`, ...others, ""].join("\n");
}

/** What the file holds; null: it is not there. Throws where it is there and cannot be read, as a folder or another user's. */
function textIn(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return null;
    throw error;
  }
}

/** What to tell who has no token although the file is there; null: it is not there, or can be read. */
export function whyUnread(given: Parameters<typeof credentialsPath>[0]): string | null {
  const path = credentialsPath(given);
  try {
    textIn(path);
    return null;
  } catch {
    return `${path} is there, but this user cannot read it: give it to the user that runs the agent`;
  }
}

/**
 * Puts the file in its own place, and says what it holds. Throws where it cannot be replaced: a folder, another user's, or mounted by
 * itself into a container.
 */
export function replaceByItself(path: string): string {
  const text = textIn(path);
  if (text !== null) writePrivately(path, text);
  return text ?? "";
}

/** Writes a file that its owner alone can read, in one step: who reads it finds the old one or the new one. Throws. */
export function writePrivately(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.${process.pid}.tmp`;
  rmSync(next, { force: true });
  writeFileSync(next, text, { mode: 0o600, flag: "wx", flush: true });
  try {
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}

/** True when somebody else on this machine can read the file. Windows keeps no such bits. */
export function isReadByOthers(path: string): boolean {
  if (process.platform === "win32") return false;
  try {
    return (statSync(path).mode & 0o077) !== 0;
  } catch {
    return false;
  }
}
