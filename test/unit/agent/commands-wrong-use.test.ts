/** The commands of gpu-agent in a hurry: wrong addresses, files that are in the way, a far side that is another's. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isInClear } from "../../../gpu-agent/cli/command.ts";
import { doctor } from "../../../gpu-agent/cli/doctor.ts";
import { enroll } from "../../../gpu-agent/cli/enroll.ts";
import { drain } from "../../../gpu-agent/cli/holds.ts";
import { settingsGiven } from "../../../gpu-agent/config.ts";
import { type AgentSelf, enrolRequestSchema, selfSchema } from "../../../src/protocol/agent-self.ts";
import { TOKEN } from "../../support/agent/running-agent.ts";

const MAIN = fileURLToPath(new URL("../../../gpu-agent/main.ts", import.meta.url));

let dir = "";
let path = "";
let url = "";
let serve: (route: string, response: ServerResponse) => void;
let calls: { route: string; body: string }[];
let close: () => Promise<unknown>;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "commands-"));
  path = join(dir, "agent.env");
  calls = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const route = `${request.method} ${request.url}`;
    calls.push({ route, body });
    serve(route, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = () => new Promise((resolve) => server.close(resolve).closeAllConnections());
});
afterEach(async () => {
  vi.restoreAllMocks();
  await close();
  rmSync(dir, { recursive: true });
});

const json = (response: ServerResponse, code: number, value: object) =>
  response.writeHead(code, { "content-type": "application/json", "x-api-version": "1" }).end(JSON.stringify(value));
const given = (_route: string, response: ServerResponse) =>
  json(response, 200, { agent: "ag_0123456789ab", name: "rig", pool: "default", token: TOKEN });
const self = (over: Partial<AgentSelf> = {}): AgentSelf =>
  selfSchema.parse({
    ...{ agent: "ag_0123456789ab", name: "rig", pool: "default", online: true, hold: null, processes: [] },
    now: new Date().toISOString(),
    ...over,
  });
const input = (flags: Record<string, string> = {}, env: Record<string, string> = {}) => {
  const said: string[] = [];
  const map = new Map(Object.entries(flags));
  const all = settingsGiven(map, { WORK_DIR: dir, ...env });
  const isFromFile = env.AGENT_TOKEN === undefined;
  return { flags: map, given: all, isFromFile, say: (line: string) => void said.push(line), said };
};
const main = (env: Record<string, string>, ...args: string[]) =>
  new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) =>
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env: { PATH: process.env.PATH, WORK_DIR: dir, ...env } },
      (...ended) => resolve({ code: ended[0]?.code ?? 0, stdout: ended[1], stderr: ended[2] }),
    ),
  );

describe("a wrong address", () => {
  it("ends each command with one line that names it, and with --json with one object", async () => {
    const env = { CONTROL_URL: "api.example.com", AGENT_TOKEN: TOKEN };
    const [asked, enrolled] = await Promise.all([
      main(env, "status", "--json"),
      main({}, "enroll", "--url", "https://a b", "--code", "ec_code"),
    ]);
    expect([asked.code, JSON.parse(asked.stdout)]).toEqual([1, { error: expect.stringContaining("CONTROL_URL") }]);
    expect([enrolled.code, enrolled.stderr.split("\n")]).toEqual([1, [expect.stringContaining("--url"), ""]]);
  });

  it("is found by the doctor beside everything else", async () => {
    const env = { CONTROL_URL: "api.example.com", AGENT_TOKEN: TOKEN, COMFYUI_URL: "127.0.0.1:8188" };
    const { code, value } = await doctor(input({}, env));
    expect(code).toBe(6);
    expect(value).toMatchObject({
      checks: expect.arrayContaining([
        expect.objectContaining({ name: "control_plane", verdict: "fail" }),
        expect.objectContaining({ name: "comfyui", verdict: "fail", to_do: expect.stringContaining("COMFYUI_URL") }),
        expect.objectContaining({ name: "disk", verdict: "ok" }),
      ]),
    });
  });

  it("of another program keeps the code, and does not ask for the same again", async () => {
    for (const status of [200, 403, 404]) {
      serve = (_route, response) => json(response, status, {});
      const { code, lines } = await enroll(input({ url, code: "ec_code" }));
      expect([status, code, lines]).toEqual([status, 5, [expect.stringContaining("correct --url")]]);
    }
    serve = given;
    expect((await enroll(input({ url, code: "ec_code" }))).code).toBe(0);
    expect(new Set(calls.map(({ body }) => enrolRequestSchema.parse(JSON.parse(body)).enrol_id)).size).toBe(1);
  });
});

it.each([
  ["http://10.0.0.7:8787", true],
  ["http://localhost.example.com", true],
  ["http://127.example.com", true],
  ["http://127.0.0.1:8787", false],
  ["http://localhost:8787", false],
  ["http://[::1]:8787", false],
  ["https://api.example.com", false],
])("A token sent to %s can be read on the way: %s", (address, is) => {
  expect(isInClear(address)).toBe(is);
});

describe("the doctor", () => {
  it("asks for the control socket where the agent does, and needs no disk where none is asked for", async () => {
    serve = (route, response) => {
      if (route === "GET /agent/v1/self") return json(response, 200, self());
      return json(response, route === "GET /ping" ? 200 : 404, {});
    };
    const env = {
      CONTROL_URL: `${url}/`,
      AGENT_TOKEN: TOKEN,
      COMFYUI_URL: "http://127.0.0.1:9",
      MIN_FREE_DISK_MB: "0",
    };
    const { value } = await doctor(input({}, env));
    expect(calls.map(({ route }) => route)).toContain("GET /agent/v1/control");
    expect(JSON.stringify(value)).toContain(", 0 needed");
  });
});

it("The doctor leaves no work directory behind that was not there: whoever looks may not be who runs the agent", async () => {
  const { value } = await doctor(
    input({}, { COMFYUI_URL: "http://127.0.0.1:9", WORK_DIR: join(dir, "new", "deeper") }),
  );
  expect(JSON.stringify(value)).toContain("MB free in WORK_DIR");
  expect(readdirSync(dir)).toEqual([]);
});

describe("the credentials file", () => {
  it("that cannot be replaced costs no code: a folder in its place is told before anything is asked", async () => {
    mkdirSync(path);
    expect(await enroll(input({ url, code: "ec_code" }))).toMatchObject({
      code: 1,
      lines: [expect.stringContaining(path)],
    });
    expect([calls, readdirSync(dir)]).toEqual([[], ["agent.env"]]);
  });

  it("that is there and cannot be read is told as that, not as a box without a token", async () => {
    mkdirSync(path);
    const said = expect.stringContaining(`${path} is there, but`);
    const [asked, run] = await Promise.all([main({}, "status"), main({ COMFYUI_URL: "http://127.0.0.1:9" })]);
    expect([asked.code, asked.stderr, run.code, run.stderr]).toEqual([1, said, 1, said]);
  });

  it("keeps what others wrote into it, and nothing of the agent before", async () => {
    writeFileSync(
      path,
      `CONTROL_URL=http://old\r\nAGENT_TOKEN="quoted"\r\n# of the box\r\nCOMFYUI_URL=http://127.0.0.1:8188\r\n`,
    );
    serve = given;
    for (const code of ["ec_one", "ec_two"]) expect((await enroll(input({ url, code, force: "true" }))).code).toBe(0);
    expect(readFileSync(path, "utf8").split("\n").slice(1)).toEqual([
      `CONTROL_URL=${url}`,
      `AGENT_TOKEN=${TOKEN}`,
      "# of the box",
      "COMFYUI_URL=http://127.0.0.1:8188",
      "",
    ]);
  });

  it("that the environment would win over is not written without a word about it", async () => {
    serve = given;
    const asked = input({ url, code: "ec_code" }, { AGENT_TOKEN: TOKEN, CONTROL_URL: "http://127.0.0.1:1" });
    const words = ["AGENT_TOKEN is set", "CONTROL_URL is set"].map((text) => expect.stringContaining(text));
    expect([(await enroll(asked)).code, asked.said]).toEqual([0, words]);
    const again = input({ url: `${url}/`, code: "ec_two", force: "true" });
    expect([(await enroll(again)).code, again.said]).toEqual([0, []]);
  });
});

describe("draining with --wait", () => {
  const slot = { slot: 0, state: "busy" as const, next_job_id: null, since: "2030-01-01T00:00:00.000Z", reason: null };
  const busy = self({ processes: [{ instance: "a", version: "1", slots: [{ ...slot, job_id: "j_0123456789ab" }] }] });
  const env = () => ({ CONTROL_URL: url, AGENT_TOKEN: TOKEN });

  it("takes an agent whose socket is away for one that may have jobs, and waits for its word", async () => {
    const answers = [self({ online: false }), busy, self({ online: false }), self()];
    serve = (_route, response) => json(response, 200, answers.shift() ?? self());
    const asked = input({ wait: "true" }, env());
    expect((await drain(asked)).code).toBe(0);
    expect([calls.length, asked.said.length]).toEqual([4, 3]);
  });

  it("does not wait longer for one that stays away than a lease lasts", async () => {
    let at = process.hrtime.bigint();
    serve = (_route, response) => {
      at += 40_000_000_000n;
      json(response, 200, self({ online: false }));
    };
    vi.spyOn(process.hrtime, "bigint").mockImplementation(() => at);
    expect((await drain(input({ wait: "true" }, env()))).code).toBe(0);
    expect(calls.length).toBe(3);
  });
});
