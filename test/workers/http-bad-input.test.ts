/**
 * Holds the edge to the bad-input catalogue: CONTRACT's envelope each time, never a 5xx, and nothing stored.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { MAX_BODY_BYTES } from "../../src/http/request-body.ts";
import { as, type Person, person, post, type Refused, send, submitted } from "./support/client.ts";

let user: Person;
beforeAll(async () => {
  user = await person();
});
afterAll(async () => {
  const list = await (await send("/api/v1/jobs", as(user.key))).json<{ total: number }>();
  expect(list.total, "nothing of all this was stored").toBe(0);
});

async function refusedBy(
  answer: Response | Promise<Response>,
  status: number,
  code: string,
): Promise<Refused["error"]> {
  const response = await answer;
  const { error } = await response.json<Refused>();
  expect({ status: response.status, code: error.code }).toEqual({ status, code });
  expect(error.request_id).toBe(response.headers.get("X-Request-ID"));
  expect(error.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(error.message.length).toBeGreaterThan(5);
  return error;
}

const submit = (body: string, headers: Record<string, string> = {}) =>
  send("/api/v1/jobs", post(user.key, body, headers));
const deep = (levels: number) => `{"workflow":${"[".repeat(levels)}${"]".repeat(levels)}}`;
const META_PROTO = "metadata.__proto__";
const node = (inputs: string) => `{"workflow":{"1":{"class_type":"SaveImage","inputs":${inputs}}}}`;

describe("bodies", () => {
  it("B31: that drip are waited for two minutes, with and without a length, also where they are too large", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const dripping = (headers: Record<string, string>) => {
      const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) });
      // The type of a request's init does not know yet that a stream needs it.
      return send("/api/v1/jobs", { ...post(user.key, "", headers), body, duplex: "half" } as RequestInit);
    };
    const answers = [dripping({}), dripping({ "Content-Length": "9" }), dripping({ "Content-Length": "99000000" })];
    await vi.advanceTimersByTimeAsync(119_000);
    expect(await Promise.race([...answers, "waited for"])).toBe("waited for");
    await vi.advanceTimersByTimeAsync(1_000);
    const codes = await Promise.all(answers.map(async (answer) => (await (await answer).json<Refused>()).error.code));
    expect(codes).toEqual(["BAD_REQUEST", "BAD_REQUEST", "REQUEST_TOO_LARGE"]);
    vi.useRealTimers();
  });

  it.each<[string, string, number, string, string | undefined]>([
    ["empty", "", 400, "BAD_REQUEST", undefined],
    ["truncated", "{", 400, "BAD_REQUEST", undefined],
    ["two values", "{}{}", 400, "BAD_REQUEST", undefined],
    ["a byte order mark", "\uFEFF{}", 400, "BAD_REQUEST", undefined],
    ["NaN", '{"cfg_scale": NaN}', 400, "BAD_REQUEST", undefined],
    ["1e400", '{"prompt": "a", "cfg_scale": 1e400}', 422, "VALIDATION_ERROR", "cfg_scale"],
    ["65 levels", deep(64), 400, "BAD_REQUEST", undefined],
    ["100,000 levels", deep(100_000), 400, "BAD_REQUEST", undefined],
    ["a key twice", '{"prompt": "a", "steps": 1, "steps": 150}', 400, "BAD_REQUEST", "steps"],
    ["an array", "[]", 422, "VALIDATION_ERROR", ""],
    ["null", "null", 422, "VALIDATION_ERROR", ""],
    ["a number", "7", 422, "VALIDATION_ERROR", ""],
    ["half a surrogate pair", '{"prompt": "\\ud800"}', 422, "VALIDATION_ERROR", "prompt"],
    ["a NUL", '{"prompt": "a\\u0000b"}', 422, "VALIDATION_ERROR", "prompt"],
    ["nothing to run", "{}", 422, "MISSING_SOURCE", undefined],
    ["an unknown field", '{"prompt": "a", "promt": "b"}', 422, "VALIDATION_ERROR", "promt"],
    ["a field of ours", '{"prompt": "a", "status": "succeeded"}', 422, "VALIDATION_ERROR", "status"],
    ["__proto__", '{"prompt": "a", "__proto__": {"x": 1}}', 422, "VALIDATION_ERROR", "__proto__"],
    ["an empty prompt", '{"prompt": "   "}', 422, "VALIDATION_ERROR", "prompt"],
    ["5001 characters", `{"prompt": "${"a".repeat(5001)}"}`, 422, "VALIDATION_ERROR", "prompt"],
    ["a prompt that is a number", '{"prompt": 7}', 422, "VALIDATION_ERROR", "prompt"],
    ["width in text", '{"prompt": "a", "width": "512"}', 422, "VALIDATION_ERROR", "width"],
    ["width 0", '{"prompt": "a", "width": 0}', 422, "VALIDATION_ERROR", "width"],
    ["width 513", '{"prompt": "a", "width": 513}', 422, "VALIDATION_ERROR", "width"],
    ["width null", '{"prompt": "a", "width": null}', 422, "VALIDATION_ERROR", "width"],
    ["height 2056", '{"prompt": "a", "height": 2056}', 422, "VALIDATION_ERROR", "height"],
    ["151 steps", '{"prompt": "a", "steps": 151}', 422, "VALIDATION_ERROR", "steps"],
    ["cfg 30.1", '{"prompt": "a", "cfg_scale": 30.1}', 422, "VALIDATION_ERROR", "cfg_scale"],
    ["a sampler nobody has", '{"prompt": "a", "sampler": "plms"}', 422, "VALIDATION_ERROR", "sampler"],
    ["seed -2", '{"prompt": "a", "seed": -2}', 422, "VALIDATION_ERROR", "seed"],
    ["seed 2^32", '{"prompt": "a", "seed": 4294967296}', 422, "VALIDATION_ERROR", "seed"],
    ["seed 2^53+1", '{"prompt": "a", "seed": 9007199254740993}', 422, "VALIDATION_ERROR", "seed"],
    ["a model outside", '{"prompt": "a", "model": "../x.safetensors"}', 422, "VALIDATION_ERROR", "model"],
    ["a model of the disk", '{"prompt": "a", "model": "/etc/passwd"}', 422, "VALIDATION_ERROR", "model"],
    ["an annotated model", '{"prompt": "a", "model": "a.png [output]"}', 422, "VALIDATION_ERROR", "model"],
    ["11 images", '{"prompt": "a", "batch_size": 11}', 422, "VALIDATION_ERROR", "batch_size"],
    ["priority 10", '{"prompt": "a", "priority": 10}', 422, "VALIDATION_ERROR", "priority"],
    ["a timeout of 0", '{"prompt": "a", "timeout_seconds": 0}', 422, "VALIDATION_ERROR", "timeout_seconds"],
    ["a timeout in text", '{"prompt": "a", "timeout_seconds": "60"}', 422, "VALIDATION_ERROR", "timeout_seconds"],
    ["half a second", '{"prompt": "a", "timeout_seconds": 1.5}', 422, "VALIDATION_ERROR", "timeout_seconds"],
    ["nested metadata", '{"prompt": "a", "metadata": {"a": {}}}', 422, "VALIDATION_ERROR", "metadata.a"],
    ["metadata __proto__", '{"prompt": "a", "metadata": {"__proto__": "x"}}', 422, "VALIDATION_ERROR", META_PROTO],
    ["an unknown pool", '{"prompt": "a", "pool": "nowhere"}', 422, "UNKNOWN_POOL", "pool"],
    ["a pool of no form", '{"prompt": "a", "pool": "No Where"}', 422, "VALIDATION_ERROR", "pool"],
    ["media", '{"prompt": "a", "media": [{"name": "a.png", "data": ""}]}', 422, "MEDIA_INVALID", "media"],
    ["a template", '{"template": "portrait"}', 422, "VALIDATION_ERROR", "template"],
    ["a webhook nowhere public", '{"prompt": "a", "webhook_url": "https://x/"}', 422, "URL_NOT_ALLOWED", "webhook_url"],
    ["an empty workflow", '{"workflow": {}}', 422, "INVALID_WORKFLOW", "workflow"],
    ["a workflow in text", '{"workflow": "{}"}', 422, "INVALID_WORKFLOW", "workflow"],
    ["the editor's format", '{"workflow": {"nodes": [], "links": []}}', 422, "INVALID_WORKFLOW", "workflow"],
    ["a link to nowhere", node('{"images": ["8", 0]}'), 422, "INVALID_WORKFLOW", "workflow"],
    ["a seed of 2^64", node('{"seed": 18446744073709551616}'), 422, "INVALID_WORKFLOW", "workflow"],
    ["a workflow of 1 MB", node(`{"text": "${"x".repeat(1_000_000)}"}`), 413, "WORKFLOW_TOO_LARGE", "workflow"],
  ])("refuses %s", async (_name, body, status, code, field) => {
    const error = await refusedBy(submit(body), status, code);
    expect(error.details.field).toBe(field);
  });

  it("refuses 17 pairs of metadata, and says how many there may be", async () => {
    const metadata = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, "v"]));
    const error = await refusedBy(submit(JSON.stringify({ prompt: "a", metadata })), 422, "VALIDATION_ERROR");
    expect(error.message).toContain("16");
  });

  it("holds images and priority against the role", async () => {
    const free = await person("user", "free");
    for (const [field, limit, body] of [
      ["batch_size", 1, { prompt: "a", num_images: 2 }],
      ["priority", 0, { prompt: "a", priority: 1 }],
    ] as const) {
      const answer = send("/api/v1/jobs", post(free.key, JSON.stringify(body)));
      expect((await refusedBy(answer, 422, "VALIDATION_ERROR")).details).toMatchObject({ field, limit });
    }
    expect((await send("/api/v1/jobs", post(free.key, '{"prompt":"a","num_images":1}'))).status).toBe(202);
  });

  it("gives a hint to whoever sends the editor's format", async () => {
    const error = await refusedBy(submit('{"workflow": {"nodes": [], "links": []}}'), 422, "INVALID_WORKFLOW");
    expect(error.details).toMatchObject({ reason: "ui_format", hint: "Export (API)" });
  });

  it("never repeats more than 64 characters of what was sent", async () => {
    const long = "z".repeat(500);
    for (const body of [`{"${long}": 1}`, `{"workflow": {"${long}": {}}}`, `{"${long}": 1, "${long}": 2}`])
      expect(JSON.stringify(await (await submit(body)).json())).not.toContain("z".repeat(65));
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/json; charset=utf-16",
    "",
  ])("refuses the content type %j", async (type) => {
    await refusedBy(submit('{"prompt": "a"}', { "Content-Type": type }), 415, "UNSUPPORTED_MEDIA");
  });

  it("refuses compressed bodies and bytes that are not UTF-8", async () => {
    await refusedBy(submit("{}", { "Content-Encoding": "gzip" }), 415, "UNSUPPORTED_MEDIA");
    const init = { ...post(user.key, ""), body: new Uint8Array([0x7b, 0xff, 0x7d]) };
    await refusedBy(send("/api/v1/jobs", init), 400, "BAD_REQUEST");
  });

  it("refuses one byte too many by its declared length", async () => {
    const headers = { "Content-Length": String(MAX_BODY_BYTES + 1) };
    await refusedBy(submit("{}", headers), 413, "REQUEST_TOO_LARGE");
  });

  it("cuts a body without a length soon after the limit, and takes one of exactly the limit", async () => {
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(32));
        if (sent > 4 * MAX_BODY_BYTES) controller.close();
      },
    });
    await refusedBy(send("/api/v1/jobs", { ...post(user.key, ""), body: endless }), 413, "REQUEST_TOO_LARGE");
    expect(sent).toBeLessThan(2 * MAX_BODY_BYTES + 1_000_000);
    const exact = new Uint8Array(MAX_BODY_BYTES).fill(32);
    exact.set(new TextEncoder().encode("{}"));
    const whole = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(exact);
        controller.close();
      },
    });
    await refusedBy(send("/api/v1/jobs", { ...post(user.key, ""), body: whole }), 422, "MISSING_SOURCE");
  });

  it("takes a client that goes in the middle of its body for a bad request, not for a fault of ours", async () => {
    const logged = vi.spyOn(console, "log");
    for (const headers of [{}, { "Content-Length": "100" }]) {
      const broken = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"prompt": '));
          controller.error(new Error("Network connection lost."));
        },
      });
      const answer = send("/api/v1/jobs", { ...post(user.key, "", headers), body: broken });
      await refusedBy(answer, 400, "BAD_REQUEST");
    }
    expect(logged.mock.calls.flat().join()).not.toContain("exception");
    logged.mockRestore();
  });

  it.each(["", "x".repeat(256), "a b", "kl\u00fcch"])("refuses the Idempotency-Key %j", async (key) => {
    const answer = submit('{"prompt":"a"}', { "Idempotency-Key": key });
    expect((await refusedBy(answer, 400, "BAD_REQUEST")).details.field).toBe("Idempotency-Key");
  });
});

describe("paths", () => {
  it("answers foreign, unknown and malformed ids alike", async () => {
    const other = await person();
    const { job_id } = await submitted(other.key, { prompt: "theirs" });
    const ids = [job_id, "j_000000000000", "j_xyz", "j_0123456789AB", "1"];
    const said = new Set<string>();
    for (const id of ids)
      for (const [path, method] of [
        [`/api/v1/jobs/${id}`, "GET"],
        [`/api/v1/jobs/${id}`, "DELETE"],
        [`/api/v1/jobs/${id}/cancel`, "POST"],
        [`/api/v1/jobs/${id}/artifacts/0`, "GET"],
        [`/api/v1/jobs/${id}/events?format=json`, "GET"],
      ] as const) {
        const {
          request_id: _id,
          timestamp: _ts,
          ...rest
        } = await refusedBy(send(path, { ...as(user.key), method }), 404, "NOT_FOUND");
        said.add(JSON.stringify(rest));
      }
    expect([...said]).toHaveLength(1);
    expect((await (await send(`/api/v1/jobs/${job_id}`, as(other.key))).json<{ status: string }>()).status).toBe(
      "queued",
    );
  });

  it("names the methods a path has", async () => {
    const answer = await send("/api/v1/jobs", { ...as(user.key), method: "PUT" });
    expect(answer.headers.get("Allow")).toBe("GET, HEAD, POST");
    await refusedBy(answer, 405, "METHOD_NOT_ALLOWED");
    await refusedBy(
      send("/api/v1/jobs/j_0123456789ab", { ...as(user.key), method: "PATCH" }),
      405,
      "METHOD_NOT_ALLOWED",
    );
    const overridden = { ...as(user.key, { "X-HTTP-Method-Override": "DELETE" }), method: "PATCH" };
    await refusedBy(send("/api/v1/jobs/j_0123456789ab", overridden), 405, "METHOD_NOT_ALLOWED");
  });

  it.each(["//jobs", "/api/v1/JOBS", "/api/v1/jobs/%00", "/api/v1/nothing", "/api/v1/jobs/"])(
    "knows no %s",
    async (path) => {
      await refusedBy(send(path.startsWith("//") ? `/.${path}` : path, as(user.key)), 404, "NOT_FOUND");
    },
  );

  it.each(["limit=-1", "limit=0", "limit=1e9", "limit=abc", "limit=1&limit=2", "cursor=forged", "status=done"])(
    "refuses the list with %s",
    async (query) => {
      await refusedBy(send(`/api/v1/jobs?${query}`, as(user.key)), 400, "BAD_REQUEST");
    },
  );
});

describe("exceptions", () => {
  it("F60: become a bare 500 with the request id, and 503 without a second try when an object is overloaded", async () => {
    const failing = (error: Error) => ({
      ACCOUNT: {
        idFromName: () => "id",
        get: () => ({
          listJobs: () => {
            calls++;
            return Promise.reject(error);
          },
        }),
      } as never,
    });
    let calls = 0;
    const bug = await send("/api/v1/jobs", as(user.key), failing(new Error("secret at /srv/x.ts:3")));
    const said = await bug.clone().text();
    expect(said).not.toContain("secret");
    await refusedBy(bug, 500, "INTERNAL_ERROR");
    const busy = Object.assign(new Error("busy"), { overloaded: true });
    const answer = await send("/api/v1/jobs", as(user.key), failing(busy));
    expect(answer.headers.get("Retry-After")).toBe("1");
    await refusedBy(answer, 503, "BACKEND_UNAVAILABLE");
    expect(calls).toBe(2);
  });
});
