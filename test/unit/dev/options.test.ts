/**
 * The command lines of `npm start` and `npm run demo`: what is refused, and that it is one line.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readDemoOptions } from "../../../dev/demo/options.ts";
import { readStartOptions } from "../../../dev/stack/start-options.ts";

const folder = mkdtempSync(join(tmpdir(), "demo-options-"));
function fileWith(text: string): string {
  const path = join(folder, `${Math.random()}.json`);
  writeFileSync(path, text);
  return path;
}
function refusal(...args: string[]): string {
  try {
    readDemoOptions(args, {});
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  return "accepted";
}

it("draws one picture on the default folder when nothing is said", () => {
  expect(readDemoOptions([], {})).toMatchObject({
    scenario: "picture",
    count: 1,
    workflow: null,
    dataDir: ".data",
    comfyuiUrl: null,
  });
});

it("keeps a workflow's text verbatim, so that integers beyond 2^53 survive", () => {
  const text = '{"3": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615}}}';
  expect(readDemoOptions(["--workflow", fileWith(text)], {})).toMatchObject({ workflow: text });
});

it("refuses a wrong workflow file in one line that says what to do", () => {
  expect(refusal("--workflow", "nowhere.json")).toBe("there is no file nowhere.json");
  expect(refusal("--workflow", folder)).toMatch(/cannot be read$/);
  expect(refusal("--workflow", fileWith("{"))).toMatch(/is not JSON$/);
  expect(refusal("--workflow", fileWith('{"nodes": [], "links": []}'))).toMatch(/UI format; export it with/);
  expect(refusal("--workflow", fileWith("{}"))).toMatch(/not a ComfyUI workflow in API format$/);
  expect(refusal("--workflow", fileWith('{"1": {"inputs": {}}}'))).toMatch(/not a ComfyUI workflow in API format$/);
  expect(refusal("--workflow", fileWith("[]"))).toMatch(/not a ComfyUI workflow$/);
});

it("refuses an unknown scenario, flag or number in one line", () => {
  for (const args of [
    ["explode"],
    ["burst", "cancel"],
    ["--cuont", "3"],
    ["--count", "0"],
    ["--count", "9"],
    ["--count", "x"],
    ["--prompt", " "],
  ]) {
    const said = refusal(...args);
    expect(said).not.toBe("accepted");
    expect(said.split("\n")).toHaveLength(1);
  }
  expect(() => readDemoOptions([], { COMFYUI_URL: "localhost" })).toThrow("COMFYUI_URL is not a URL: localhost");
});

it("starts on port 8787 with one agent, and takes every flag", () => {
  expect(readStartOptions([], {})).toEqual({ port: 8787, dataDir: ".data", agents: 1, vars: {}, comfyuiUrl: null });
  const args = [
    "--port",
    "0",
    "--data",
    "elsewhere",
    "--no-agent",
    "--var",
    "OFFERS_ENABLED=false",
    "--var",
    "ROLES={}",
  ];
  expect(readStartOptions(args, { COMFYUI_URL: "http://127.0.0.1:8188/, http://127.0.0.1:8189" })).toEqual({
    port: 0,
    dataDir: "elsewhere",
    agents: 0,
    vars: { OFFERS_ENABLED: "false", ROLES: "{}" },
    comfyuiUrl: "http://127.0.0.1:8188,http://127.0.0.1:8189",
  });
});

it("refuses a wrong start before anything runs", () => {
  for (const args of [
    ["--port", "99999"],
    ["--port", "x"],
    ["--agents", "17"],
    ["--var", "lower=1"],
    ["--var", "NAME"],
    ["--prot"],
    ["more"],
  ])
    expect(readStartOptions(args, {})).toHaveProperty("wrong");
});
