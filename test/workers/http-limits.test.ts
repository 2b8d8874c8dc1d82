/**
 * Holds the edge to DESIGN 7: both families of rate headers on every answer to a key, read buckets without rows, and what the
 * catalogue lets through.
 */
import { describe, expect, it, vi } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import type { Capability } from "../../src/protocol/agent-api.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings, POOL } from "./support/account.ts";
import { call, refused, rowsOf, total, withSettings } from "./support/again.ts";
import { as, type Person, person, post, send, submitted, unknownKey } from "./support/client.ts";
import { controlSocket } from "./support/sockets.ts";

const RATE_HEADERS = [
  "X-RateLimit-Limit",
  "X-RateLimit-Remaining",
  "X-RateLimit-Reset",
  "RateLimit",
  "RateLimit-Policy",
];
const ratesOf = (answer: Response) => RATE_HEADERS.map((name) => answer.headers.get(name));
const hasRates = (answer: Response) => ratesOf(answer).every((value) => value !== null);

describe("rate headers", () => {
  it("are on every answer to a key that holds, refusals included, and on none to one that does not", async () => {
    const user = await person("user", "pro");
    const { job_id } = await submitted(user.key, { prompt: "a" });
    for (const [method, path, body] of [
      ["POST", "/jobs", '{"prompt": "a"}'],
      ["POST", "/jobs", "{"],
      ["POST", "/jobs", '{"prompt": ""}'],
      ["POST", "/jobs/bulk", '{"jobs": [{"prompt": "a"}]}'],
      ["POST", "/generate", '{"prompt": "a"}'],
      ["POST", `/jobs/${job_id}/rerun`, "{}"],
      ["GET", "/jobs", undefined],
      ["GET", "/jobs?limit=x", undefined],
      ["GET", `/jobs/${job_id}`, undefined],
      ["GET", "/jobs/j_0123456789ab", undefined],
      ["GET", `/jobs/${job_id}/events?format=json`, undefined],
      ["GET", "/usage", undefined],
      ["GET", "/models", undefined],
      ["DELETE", `/jobs/${job_id}/data`, undefined],
      ["DELETE", `/jobs/${job_id}`, undefined],
    ] as const) {
      const answer = await call(user, method, path, body);
      expect([method, path, body, answer.status, hasRates(answer)]).toEqual([method, path, body, answer.status, true]);
    }
    expect(hasRates(await send("/health", as(user.key))), "an open route with a key").toBe(true);
    expect(ratesOf(await send("/ping")).every((value) => value === null)).toBe(true);
    for (const init of [as(user.key, { "X-User-ID": "tom" }), as((await person("service")).key)])
      expect(hasRates(await send("/api/v1/jobs", init)), "an X-User-ID that is wrong, or missing").toBe(true);
    for (const key of ["junk", unknownKey("user")])
      expect(ratesOf(await send("/api/v1/jobs", as(key))).every((value) => value === null)).toBe(true);
  });

  it("count down the bucket of the route: submits for what makes jobs, reads for what reads", async () => {
    const user = await person("user", "free");
    const submit = await call(user, "POST", "/jobs", '{"prompt": "a"}');
    expect(submit.headers.get("RateLimit-Policy")).toBe('"submit";q=5;w=60');
    expect(submit.headers.get("X-RateLimit-Remaining")).toBe("4");
    expect(submit.headers.get("RateLimit")).toMatch(/^"submit";r=4;t=\d+$/);
    const read = await call(user, "GET", "/jobs");
    expect(read.headers.get("RateLimit-Policy")).toBe('"read";q=30;w=60');
    expect(read.headers.get("RateLimit")).toMatch(/^"read";r=29;t=\d+$/);
    expect(read.headers.get("X-RateLimit-Limit")).toBe("30");
    const unlimited = await call(await person(), "GET", "/jobs");
    expect(unlimited.headers.get("X-RateLimit-Limit")).toBe("999999");
  });
});

describe("reads", () => {
  const readAll = async (user: Person, times: number) => {
    const statuses: number[] = [];
    for (let n = 0; n < times; n++) statuses.push((await call(user, "GET", "/jobs")).status);
    return statuses;
  };

  it("are limited by role: the 31st of a free account waits, and writes no row; a submit is another bucket", async () => {
    const user = await person("user", "free");
    const { job_id } = await submitted(user.key, { prompt: "a" });
    const before = await rowsOf(user.account);
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.now());
    expect(await readAll(user, 30)).toEqual(Array(30).fill(200));
    const answer = await call(user, "GET", "/jobs");
    expect(Number(answer.headers.get("Retry-After"))).toBe(2);
    expect(answer.headers.get("X-RateLimit-Remaining")).toBe("0");
    expect(await refused(answer)).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    for (const path of [
      "/models",
      "/keys",
      `/jobs/${job_id}/events?format=json`,
      "/webhooks",
      "/webhooks/secret",
      "/webhooks/deliveries",
      "/webhooks/ep_0123456789ab",
    ])
      expect([path, (await call(user, "GET", path)).status]).toEqual([path, 429]);
    for (const path of [`/jobs/${job_id}/ticket`, "/webhooks/deliveries/dl_0123456789abcdef00/redeliver"]) {
      const refusal = await call(user, "POST", path);
      expect(refusal.headers.get("RateLimit-Policy")).toBe('"read";q=30;w=60');
      expect([path, ...(await refused(refusal))]).toEqual([path, 429, "RATE_LIMIT_EXCEEDED"]);
    }
    expect(await rowsOf(user.account)).toEqual(before);
    expect((await call(user, "POST", "/jobs", '{"prompt": "a"}')).status).toBe(202);
    now.mockReturnValue(now() + 2_000);
    expect((await call(user, "GET", "/jobs")).status).toBe(200);
    now.mockRestore();
  });

  it("have no limit for internal accounts, nor where limits are off", async () => {
    expect(new Set(await readAll(await person(), 120))).toEqual(new Set([200]));
  });
});

describe("JOBS_ENABLED=false", () => {
  it("is 503 with Retry-After on every route that makes jobs; replays and reads go on", async () => {
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: "a" }, { "Idempotency-Key": "before" });
    await call(user, "DELETE", `/jobs/${job_id}`);
    await withSettings(user.account, { JOBS_ENABLED: false }, async () => {
      for (const [path, body] of [
        ["/jobs", '{"prompt": "a"}'],
        ["/jobs/bulk", '{"jobs": [{"prompt": "a"}]}'],
        [`/jobs/${job_id}/rerun`, "{}"],
      ] as const) {
        const answer = await call(user, "POST", path, body);
        expect([path, Number(answer.headers.get("Retry-After"))]).toEqual([path, 60]);
        expect(await refused(answer)).toEqual([503, "FEATURE_DISABLED"]);
      }
      const replay = await call(user, "POST", "/jobs", '{"prompt": "a"}', { "Idempotency-Key": "before" });
      expect([replay.status, (await call(user, "GET", "/jobs")).status]).toEqual([200, 200]);
    });
    expect(await total(user)).toBe(1);
  });
});

describe("the unauthenticated", () => {
  it("wake no object and write nothing, and are 429 once their address asks too often", async () => {
    const woken = (["ACCOUNT", "POOL", "PROGRESS"] as const).map((name) => vi.spyOn(bindings[name], "get"));
    const asked = new Map<string, number>();
    const EDGE_LIMIT = {
      limit: async ({ key }: { key: string }) => {
        asked.set(key, (asked.get(key) ?? 0) + 1);
        return { success: (asked.get(key) ?? 0) <= 2 };
      },
    };
    const statuses: number[] = [];
    for (const [method, path] of [
      ["POST", "/jobs"],
      ["GET", "/models"],
      ["POST", "/generate"],
    ] as const)
      statuses.push(
        (await send(`/api/v1${path}`, { method, headers: { "CF-Connecting-IP": "192.0.2.1" } }, { EDGE_LIMIT })).status,
      );
    expect(statuses).toEqual([401, 401, 429]);
    expect([...asked.keys()]).toEqual(["192.0.2.1"]);
    for (const spy of woken) expect(spy).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });
});

describe("the catalogue", () => {
  const capability = (over: Partial<Capability> = {}): Capability => ({
    os: "linux",
    comfyui_version: "0.28.0",
    gpus: [],
    models: [
      { kind: "checkpoints", name: "v1-5-pruned-emaonly.ckpt", size_bytes: 4_265_380_512 },
      { kind: "loras", name: "style.safetensors", size_bytes: null },
    ],
    node_classes: [
      "LoraLoader",
      "CheckpointLoaderSimple",
      "CLIPTextEncode",
      "EmptyLatentImage",
      "KSampler",
      "SaveImage",
      "VAEDecode",
    ],
    custom_nodes: [],
    disk_free_bytes: 1,
    loaded_models: [],
    ...over,
  });
  /** More than there are jobs of other tests to be offered. */
  const SLOTS = Array.from({ length: 64 }, (_, slot) => ({ slot, state: "idle" }));
  const connect = async (agent: string, told: Capability | null) => {
    const keyid = keyIdSchema.parse(agent.padStart(8, "0"));
    await poolOf(bindings, POOL).createAgent({ agent, name: agent, keyid, secret_sha256: sha256Hex(agent) });
    const socket = await controlSocket({ agent, name: agent });
    const hello = { type: "hello", agent, instance: "one", version: "1", slots: SLOTS };
    socket.say({ ...hello, capability_hash: sha256Hex(agent), ...(told ? { capability: told } : {}) });
    socket.say({ type: "known?", refs: [] });
    await socket.frame(({ type }) => type === "taken");
    return socket;
  };
  const loading = (ckpt_name: string, class_type = "SaveImage") =>
    JSON.stringify({
      workflow: {
        "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name } },
        "2": { class_type, inputs: { images: ["1", 0] } },
      },
    });

  it("B73: lists what agents have, refuses what none has, and accepts all while an agent has not told", async () => {
    const user = await person();
    expect((await call(user, "POST", "/jobs", loading("nobody-has.safetensors", "Unheard"))).status).toBe(202);
    const first = await connect("agentone", capability());
    // The empty catalogue of a moment ago is kept for 2 s.
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 2_000);
    const models = await (await call(user, "GET", "/models")).json<{ models: object[]; total: number }>();
    expect(models.total).toBe(2);
    expect(models.models[0]).toEqual({
      name: "v1-5-pruned-emaonly.ckpt",
      kind: "checkpoints",
      size_bytes: 4_265_380_512,
      pools: ["default"],
    });
    const loras = await (await call(user, "GET", "/models?kind=loras&limit=1")).json<{ total: number }>();
    expect(loras.total).toBe(1);
    expect(await refused(await call(user, "POST", "/jobs", loading("nobody-has.safetensors")))).toEqual([
      422,
      "UNKNOWN_MODEL",
    ]);
    for (const unknown of ["Unheard", "saveimage", "Save Image", "SaveImage "])
      expect(await refused(await call(user, "POST", "/jobs", loading("v1-5-pruned-emaonly.ckpt", unknown)))).toEqual([
        422,
        "INVALID_WORKFLOW",
      ]);
    expect(await refused(await call(user, "POST", "/jobs", '{"prompt": "a", "model": "nobody-has.ckpt"}'))).toEqual([
      422,
      "UNKNOWN_MODEL",
    ]);
    expect((await call(user, "POST", "/jobs", loading("v1-5-pruned-emaonly.ckpt"))).status).toBe(202);
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 2_000);
    const second = await connect(
      "agenttwo",
      capability({ models: [{ kind: "checkpoints", name: "nobody-has.safetensors", size_bytes: null }] }),
    );
    const anew = await call(user, "POST", "/jobs", loading("nobody-has.safetensors"));
    expect(anew.status, "the pool is asked anew before a no").toBe(202);
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 40_000);
    const third = await connect("agenttri", null);
    expect((await call(user, "POST", "/jobs", loading("unheard-of.safetensors"))).status).toBe(202);
    for (const { socket } of [first, second, third]) socket.close();
    vi.restoreAllMocks();
    expect(await total(user)).toBe(4);
  });

  it("sends a job first to the agent that has its model in memory", async () => {
    const cold = await connect("agentice", capability({ loaded_models: [] }));
    const warm = await connect("agenthot", capability({ loaded_models: ["style.safetensors"] }));
    const loader = { class_type: "LoraLoader", inputs: { lora_name: "style.safetensors" } };
    const workflow = { "1": loader, "2": { class_type: "SaveImage", inputs: {} } };
    const user = await person();
    const answer = await call(user, "POST", "/jobs", JSON.stringify({ workflow }));
    expect([answer.status, await answer.json()]).toMatchObject([202, { status: "queued" }]);
    const isOffered = ({ type, ref }: { type: string; ref?: unknown }) =>
      type === "offer" && String(ref).includes(user.account);
    await warm.frame(isOffered, "an offer");
    expect(cold.frames.some(isOffered)).toBe(false);
    for (const { socket } of [cold, warm]) socket.close();
  });

  it("is 400 for parameters that are wrong, 401 for a key that is revoked", async () => {
    const user = await person();
    for (const query of ["limit=0", "limit=1001", "limit=1&limit=2", "offset=-1", "pool=No%20Where", "kind="])
      expect([query, (await call(user, "GET", `/models?${query}`)).status]).toEqual([query, 400]);
    expect((await send("/models", as(unknownKey("user")))).status).toBe(401);
    expect((await send("/api/v1/models", post(user.key, "{}"))).status).toBe(405);
  });

  it("is no matter to a request that was accepted before: its key is answered with its job", async () => {
    const user = await person();
    const body = loading("gone-since.safetensors");
    const submit = (path: string, text: string, key: string) =>
      call(user, "POST", path, text, { "Idempotency-Key": key });
    const agent = await connect(
      "agenthas",
      capability({ models: [{ kind: "checkpoints", name: "gone-since.safetensors", size_bytes: null }] }),
    );
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 40_000);
    expect((await submit("/jobs", body, "one")).status).toBe(202);
    expect((await submit("/jobs/bulk", `{"jobs": [${body}]}`, "two")).status).toBe(202);
    agent.socket.close();
    const other = await connect("agentnow", capability());
    await vi.waitFor(async () => {
      vi.spyOn(Date, "now").mockReturnValue(Date.now() + 40_000);
      expect((await call(user, "POST", "/jobs", body)).status).toBe(422);
    });
    expect((await submit("/jobs", body, "one")).status).toBe(200);
    expect((await submit("/jobs/bulk", `{"jobs": [${body}]}`, "two")).status).toBe(200);
    expect((await submit("/jobs", loading("other.safetensors"), "one")).status).toBe(422);
    other.socket.close();
  });
});
