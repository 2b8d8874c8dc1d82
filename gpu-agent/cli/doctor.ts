/**
 * Owns `doctor`: everything this box needs to work, looked at once, each with a verdict and what to do.
 * Invariant: one thing that is wrong hides no other; it reads, and changes nothing but one small file in the bucket.
 */
import { resolve } from "node:path";
import { configOf, EXIT, type Given, httpUrlOf, poolOfToken } from "../config.ts";
import { DEFAULT_WORK_DIR } from "../credentials-file.ts";
import { bad, type Check, well } from "./check.ts";
import { checkCredentials, checkDisk, checkFolders } from "./check-box.ts";
import { type ComfySpec, checkComfyui } from "./check-comfyui.ts";
import { checkControl } from "./check-control.ts";
import type { CommandInput, Outcome } from "./command.ts";

const DEFAULT_COMFYUI = "http://127.0.0.1:8188";
const DEFAULT_LEAST_MB = 512;

export async function doctor({ given, isFromFile }: CommandInput): Promise<Outcome> {
  const comfyuis = comfyuisOf(given);
  const asked = Number(given.MIN_FREE_DISK_MB ?? DEFAULT_LEAST_MB);
  const leastMb = asked >= 0 ? asked : DEFAULT_LEAST_MB;
  const groups = await Promise.all([
    [checkSettings(given), ...(given.AGENT_TOKEN === undefined ? [] : [checkCredentials(given, isFromFile)])],
    given.CONTROL_URL === undefined ? [] : checkControl(given.CONTROL_URL, tokenOf(given)),
    checkDisk(resolve(given.WORK_DIR ?? DEFAULT_WORK_DIR), leastMb).then((check) => [check]),
    ...comfyuis.map(checkComfyui),
    Promise.all(comfyuis.map(({ dir, label }) => checkFolders(dir, label))),
  ]);
  const checks = groups.flat();
  const count = (verdict: Check["verdict"]) => checks.filter((check) => check.verdict === verdict).length;
  const ok = count("fail") === 0;
  const sum = ok ? `ready for work (${count("warn")} warnings)` : `${count("fail")} broken, ${count("warn")} warnings`;
  return { code: ok ? EXIT.fine : EXIT.broken, lines: [...checks.flatMap(linesOf), sum], value: { ok, checks } };
}

function checkSettings(given: Given): Check {
  const config = configOf(given);
  return typeof config === "string"
    ? bad("settings", config, "correct it; gpu-agent --help lists every setting")
    : well("settings", `${config.COMFYUI_URL.length} slots, pool ${config.POOL}`);
}

function tokenOf({ AGENT_TOKEN: token }: Given): string | null {
  return token !== undefined && poolOfToken(token) !== null ? token : null;
}

function comfyuisOf(given: Given): ComfySpec[] {
  const urls = (given.COMFYUI_URL ?? DEFAULT_COMFYUI).split(",").map((url) => httpUrlOf(url.trim()) ?? url.trim());
  const dirs = given.COMFYUI_DIR?.split(",").map((dir) => resolve(dir.trim()));
  return urls.map((url, n) => ({
    url,
    label: urls.length === 1 ? "" : `_${n}`,
    dir: dirs?.[n] ?? null,
    mustBeSafe: given.REQUIRE_SAFE_COMFYUI === "true",
  }));
}

const MARKS = { ok: "ok  ", warn: "warn", fail: "FAIL" } as const;

function linesOf({ name, verdict, finding, to_do }: Check): string[] {
  const line = `${MARKS[verdict]}  ${name.padEnd(16)} ${finding}`;
  return to_do === null ? [line] : [line, `      ${" ".repeat(16)} -> ${to_do}`];
}
