/** The commands of gpu-agent: what each asks for, what it says, and the exit code it ends with. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkClock } from "../../../gpu-agent/cli/check-control.ts";
import { doctor } from "../../../gpu-agent/cli/doctor.ts";
import { enroll } from "../../../gpu-agent/cli/enroll.ts";
import { drain, durationMs, pause, status } from "../../../gpu-agent/cli/holds.ts";
import { readConfig, settingsGiven } from "../../../gpu-agent/config.ts";
import { startSimulator } from "../../../gpu-agent/simulator/simulator.ts";
import { type AgentSelf, enrolRequestSchema, selfSchema } from "../../../src/protocol/agent-self.ts";
import { TOKEN } from "../../support/agent/running-agent.ts";

const MAIN = fileURLToPath(new URL("../../../gpu-agent/main.ts", import.meta.url));
type Serve = (route: string, body: unknown, response: ServerResponse) => void;

let dir = "";
let path = "";
let url = "";
let serve: Serve;
let calls: { route: string; body: unknown; authorization: string | undefined }[];
let close: () => Promise<unknown>;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "commands-"));
  path = join(dir, "agent.env");
  calls = [];
  const server = createServer((request, response) => void take(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = () => new Promise((resolve) => server.close(resolve).closeAllConnections());
});
afterEach(async () => {
  await close();
  rmSync(dir, { recursive: true });
});

async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = "";
  for await (const chunk of request) text += chunk;
  const route = `${request.method} ${request.url}`;
  const body: unknown = text.startsWith("{") ? JSON.parse(text) : null;
  calls.push({ route, body, authorization: request.headers.authorization });
  serve(route, body, response);
}

const json = (response: ServerResponse, code: number, value: object) =>
  response.writeHead(code, { "content-type": "application/json", "x-api-version": "1" }).end(JSON.stringify(value));
const self = (over: Partial<AgentSelf> = {}): AgentSelf =>
  selfSchema.parse({
    agent: "ag_0123456789ab",
    name: "rig",
    pool: "default",
    online: true,
    hold: null,
    now: new Date().toISOString(),
    processes: [],
    ...over,
  });
const input = (flags: Record<string, string> = {}, env: Record<string, string> = {}) => {
  const said: string[] = [];
  const map = new Map(Object.entries(flags));
  const given = settingsGiven(map, { WORK_DIR: dir, ...env });
  return { flags: map, given, isFromFile: true, say: (line: string) => void said.push(line), said };
};
const enrolled = () => {
  writeFileSync(path, `CONTROL_URL=${url}\nAGENT_TOKEN=${TOKEN}\n`, { mode: 0o600 });
};

describe("enroll", () => {
  const flags = () => ({ url, code: "ec_code" });
  const given: Serve = (_route, _body, response) =>
    json(response, 200, { agent: "ag_0123456789ab", name: "rig", pool: "default", token: TOKEN });

  it("writes a file that its owner alone can read, from which the agent then runs without a variable", async () => {
    serve = given;
    expect(await enroll(input(flags()))).toMatchObject({ code: 0, value: { agent: "ag_0123456789ab" } });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const env = { WORK_DIR: dir, COMFYUI_URL: "http://127.0.0.1:8188" };
    expect(readConfig([], env)).toMatchObject({ kind: "run", config: { CONTROL_URL: url, AGENT_TOKEN: TOKEN } });
    const elsewhere = { ...env, CONTROL_URL: "http://127.0.0.1:1" };
    expect(readConfig([], elsewhere)).toMatchObject({
      config: { CONTROL_URL: "http://127.0.0.1:1", AGENT_TOKEN: TOKEN },
    });
    // A token that is given otherwise never goes to the file's control plane.
    expect(readConfig([], { ...env, AGENT_TOKEN: TOKEN })).toMatchObject({
      kind: "wrong",
      message: expect.stringMatching(/^CONTROL_URL is missing/),
    });
    expect(existsSync(`${path}.enrolling`)).toBe(false);
  });

  it("asks again as the same asking when the answer was lost, within one run and in the next", async () => {
    let answered = 0;
    serve = (...args) => (++answered <= 5 ? args[2].destroy() : given(...args));
    expect(await enroll(input(flags()))).toMatchObject({ code: 5, lines: [expect.stringContaining("same command")] });
    expect([existsSync(path), statSync(`${path}.enrolling`).mode & 0o777]).toEqual([false, 0o600]);
    expect((await enroll(input(flags()))).code).toBe(0);
    const ids = calls.map(({ body }) => enrolRequestSchema.parse(body).enrol_id);
    expect([ids.length, new Set(ids).size]).toEqual([6, 1]);
  });

  it("says of a refused code what to do, keeps nothing, and asks with another code as another asking", async () => {
    serve = (_route, _body, response) => json(response, 401, { error: "code_refused" });
    expect(await enroll(input(flags()))).toMatchObject({
      code: 2,
      lines: [expect.stringContaining("ask an operator")],
    });
    expect([existsSync(path), existsSync(`${path}.enrolling`)]).toEqual([false, false]);
    serve = (_route, _body, response) => response.destroy();
    await enroll(input({ url, code: "ec_other" }));
    serve = given;
    expect((await enroll(input({ url, code: "ec_third" }))).code).toBe(0);
    expect(new Set(calls.map(({ body }) => enrolRequestSchema.parse(body).enrol_id)).size).toBe(3);
  });

  it("asks nothing where the file cannot be written, or where the box is enrolled already", async () => {
    writeFileSync(join(dir, "file"), "");
    const nowhere = input(flags(), { CREDENTIALS_FILE: join(dir, "file", "agent.env") });
    expect(await enroll(nowhere)).toMatchObject({ code: 1, lines: [expect.stringContaining("cannot be written")] });
    enrolled();
    expect(await enroll(input(flags()))).toMatchObject({ code: 1, lines: [expect.stringContaining("--force")] });
    expect(calls).toEqual([]);
    serve = given;
    expect((await enroll(input({ ...flags(), force: "true" }))).code).toBe(0);
  });
});

describe("a hold", () => {
  it("lasts as long as it was asked for by the control plane's clock, whatever this box's says", async () => {
    enrolled();
    serve = (route, _body, response) => {
      if (route.startsWith("GET")) return json(response, 200, self({ now: "2030-01-01T00:00:00.000Z" }));
      return json(response, 200, self({ hold: { kind: "pause", until: "2030-01-01T03:00:00.000Z", by: "agent" } }));
    };
    const outcome = await pause(input({ for: "3h" }));
    expect(calls.at(-1)).toEqual({
      route: "POST /agent/v1/self/pause",
      body: { until: "2030-01-01T03:00:00.000Z" },
      authorization: `Bearer ${TOKEN}`,
    });
    expect(outcome.lines).toEqual([
      "rig (ag_0123456789ab) of pool default: connected, paused until 2030-01-01T03:00:00.000Z by its own word",
    ]);
  });

  it.each([
    ["90s", 90_000],
    ["3h", 10_800_000],
    ["30d", 30 * 86_400_000],
    ["31d", "wrong"],
    ["0m", "wrong"],
    ["3", "wrong"],
    ["-1h", "wrong"],
    ["3hours", "wrong"],
  ])("of %s is %s ms", (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });

  it("for draining returns, when asked to wait, once no job is left", async () => {
    enrolled();
    const slot = {
      slot: 0,
      state: "busy" as const,
      next_job_id: null,
      since: "2030-01-01T00:00:00.000Z",
      reason: null,
    };
    const busy = self({ processes: [{ instance: "a", version: "1", slots: [{ ...slot, job_id: "j_0123456789ab" }] }] });
    serve = (route, _body, response) => json(response, 200, route.startsWith("POST") ? busy : self());
    const asked = input({ wait: "true" });
    expect((await drain(asked)).code).toBe(0);
    expect([calls.map(({ route }) => route), asked.said]).toEqual([
      ["POST /agent/v1/self/drain", "GET /agent/v1/self"],
      ["waiting for 1 of its jobs"],
    ]);
  });

  it.each([
    [401, 2, "enroll --force"],
    [426, 3, "update the agent"],
    [503, 5, "does not answer"],
    [404, 5, "not a control plane of this version"],
  ])("answered by %i ends with exit code %i", async (answer, code, words) => {
    enrolled();
    serve = (_route, _body, response) => json(response, answer, {});
    expect(await status(input())).toMatchObject({ code, lines: [expect.stringContaining(words)] });
  });

  it("without a token says how to get one", async () => {
    expect(await status(input())).toMatchObject({ code: 1, lines: [expect.stringContaining("gpu-agent enroll")] });
  });
});

describe("doctor", () => {
  type Seen = { ok: boolean; checks: { name: string; verdict: string; to_do: string | null }[] };
  const run = async (env: Record<string, string>) => {
    const { code, value } = await doctor(input({}, env));
    const { ok, checks } = value as Seen;
    return { code, ok, checks, of: (name: string) => checks.find((check) => check.name === name) };
  };

  it("says of everything that is wrong at once what it is and what to do, and hides nothing behind another", async () => {
    const { code, ok, checks } = await run({ COMFYUI_URL: "http://127.0.0.1:9", MIN_FREE_DISK_MB: "900000000" });
    const wrong = checks.filter(({ verdict }) => verdict === "fail").map(({ name }) => name);
    expect([code, ok, wrong]).toEqual([6, false, ["settings", "disk", "comfyui"]]);
    for (const { name, verdict, to_do } of checks) expect([name, to_do === null]).toEqual([name, verdict === "ok"]);
  });

  it("tells a refused token, a bucket that refuses and a file that others read, beside a ComfyUI that is well", async () => {
    const sim = await startSimulator({});
    try {
      writeFileSync(path, `CONTROL_URL=${url}\nAGENT_TOKEN=${TOKEN}\n`, { mode: 0o644 });
      serve = (route, _body, response) => {
        if (route === "GET /ping") return json(response, 200, { ok: true });
        if (route === "GET /agent/v1/self") return json(response, 200, self({ online: false }));
        if (route === "POST /agent/v1/self/test-upload")
          return json(response, 200, { url: `${url}/bucket?X-Amz-Signature=secret`, method: "PUT", headers: {} });
        return json(response, 403, {});
      };
      const seen = await run({ COMFYUI_URL: sim.url });
      const verdicts = Object.fromEntries(seen.checks.map(({ name, verdict }) => [name, verdict]));
      expect(verdicts).toMatchObject({ credentials: "warn", control_plane: "ok", token: "ok", clock: "ok" });
      expect(verdicts).toMatchObject({
        control_socket: "warn",
        test_upload: "fail",
        models: "ok",
        comfyui_dir: "warn",
      });
      expect(JSON.stringify(seen.checks)).not.toMatch(/secret|ce_agent_/);
      serve = (route, _body, response) => json(response, route === "GET /ping" ? 200 : 401, {});
      expect((await run({ COMFYUI_URL: sim.url })).of("token")).toMatchObject({ verdict: "fail" });
    } finally {
      await sim.close();
    }
  });

  it.each([
    [400, "ok"],
    [-40_000, "warn"],
    [3_600_000, "fail"],
  ])("takes a clock %i ms away for %s", (ahead, verdict) => {
    expect(checkClock(ahead)).toMatchObject({ verdict });
  });
});

describe("the command line", () => {
  const main = (...args: string[]) =>
    new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) =>
      execFile(process.execPath, [MAIN, ...args], { env: { ...process.env, WORK_DIR: dir } }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, stdout, stderr }),
      ),
    );

  it("explains each command, and refuses a word that is none by naming those there are", async () => {
    const [help, unknown, asJson] = await Promise.all([
      main("doctor", "--help"),
      main("docter"),
      main("status", "--json", "--url", "x"),
    ]);
    expect([help.code, help.stdout]).toEqual([0, expect.stringMatching(/^gpu-agent doctor \[--json\]/)]);
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining("enroll, status, pause")]);
    expect([asJson.code, JSON.parse(asJson.stdout)]).toEqual([1, { error: expect.stringContaining("--url") }]);
  });

  it("finds the credentials file where it was told to", () => {
    enrolled();
    const parsed = readConfig(["--credentials-file", path], { COMFYUI_URL: "http://127.0.0.1:8188" });
    expect(parsed).toMatchObject({ kind: "run", config: { AGENT_TOKEN: TOKEN } });
    expect(readFileSync(path, "utf8")).toContain(TOKEN);
  });
});
