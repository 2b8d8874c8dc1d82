/**
 * The processes of a stack: killed ones come back, a stopped or killed stack leaves nothing.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { Child } from "../../../dev/stack/children.ts";
import { startGuardian } from "../../../dev/stack/guardian.ts";
import { holdFolder, readStackFile, removeStackFile, writeStackFile } from "../../../dev/stack/stack-file.ts";

const SOON = { timeout: 10_000, interval: 20 };
const folder = mkdtempSync(join(tmpdir(), "stack-processes-"));
const guardian = startGuardian();
const children: Child[] = [];
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop()));
  guardian.end();
});

function idle(name: string, args: string[] = [], onDeath?: (how: string) => void): Child {
  const child = new Child({
    entry: "test/support/idle-process.ts",
    args,
    env: {},
    logPath: join(folder, `${name}.log`),
    pidPath: join(folder, `${name}.pid`),
    guardian,
    ...(onDeath === undefined ? {} : { onDeath }),
  });
  children.push(child);
  return child;
}
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A killed orphan may stay a zombie where nobody reaps it: it runs no more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
const grandchildOf = (name: string) =>
  vi.waitUntil(
    () => Number(/grandchild (\d+)\n/.exec(readFileSync(join(folder, `${name}.log`), "utf8"))?.[1]) || null,
    SOON,
  );

it("starts a killed child again and says how it died", async () => {
  const deaths: string[] = [];
  const child = idle("killed", [], (how) => deaths.push(how));
  const first = child.pid();
  await child.kill();
  const second = await vi.waitUntil(() => child.pid(), SOON);
  expect(second).not.toBe(first);
  expect(deaths).toEqual(["SIGKILL"]);
  expect(Number(readFileSync(join(folder, "killed.pid"), "utf8"))).toBe(second);
});

it("keeps a child down that was killed for good", async () => {
  const deaths: string[] = [];
  const child = idle("down", [], (how) => deaths.push(how));
  await child.kill({ restart: false });
  expect(child.pid()).toBeNull();
  expect(deaths).toEqual([]);
});

it("stops a child that ignores SIGTERM, and what that child had started", { timeout: 20_000 }, async () => {
  const child = idle("stubborn", ["--stubborn", "--grandchild"]);
  const grandchild = await grandchildOf("stubborn");
  const pid = child.pid();
  await child.stop();
  // Both are killed when `stop` resolves; an orphan keeps its number until the system has collected it.
  await vi.waitUntil(() => ![pid, grandchild].some((one) => one !== null && isAlive(one)), SOON);
});

it("leaves nothing behind when the stack itself is killed with -9", async () => {
  const parent = spawn(process.execPath, ["test/support/doomed-parent.ts", folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(String(data))));
  const pid = Number(said);
  expect(isAlive(pid)).toBe(true);
  parent.kill("SIGKILL");
  await vi.waitUntil(() => !isAlive(pid), SOON);
});

it("writes stack.json for its owner alone, and does not believe it once the process is gone", async () => {
  const stack = {
    api_url: "http://127.0.0.1:1",
    direct_url: "http://127.0.0.1:2",
    docs_url: "http://127.0.0.1:1/docs",
    metrics_url: "http://127.0.0.1:1/metrics",
    user_key: "u",
    admin_key: "a",
    service_key: "s",
    agent_token: "t",
    comfyui_url: "",
    model: "m",
    pid: process.pid,
  };
  writeStackFile(folder, stack);
  expect(statSync(join(folder, "stack.json")).mode & 0o777).toBe(0o600);
  expect(readStackFile(folder)).toEqual(stack);
  const gone = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => gone.once("exit", resolve));
  writeStackFile(folder, { ...stack, pid: gone.pid ?? 0 });
  expect(readStackFile(folder)).toBeNull();
  removeStackFile(folder);
  expect(readStackFile(folder)).toBeNull();
});

it("lets one process at a time have a folder, and takes it over from one that was killed", async () => {
  const held = mkdtempSync(join(tmpdir(), "stack-held-"));
  const { giveBack } = holdFolder(held);
  expect(() => holdFolder(held)).toThrow(/^a stack is starting or stopping on /);
  giveBack();
  const other = idle("holder");
  writeFileSync(join(held, "stack.pid"), String(other.pid()));
  expect(() => holdFolder(held)).toThrow(/^a stack is starting or stopping on /);
  await other.kill({ restart: false });
  holdFolder(held).giveBack();
});
