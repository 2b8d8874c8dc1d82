/**
 * Owns rows B1 to B32 of the bad-input catalogue: transport and JSON.
 * Invariant: B17 (a length that lies) and B31 are tests of their own; B23 (a URL or header too long) is the platform's.
 */
import { MAX_BODY_BYTES } from "../../../../src/http/request-body.ts";
import { post, send } from "../client.ts";
import { ask, get, node, type Row, submit, submitBytes, withField, workflow } from "./row.ts";

const deep = (levels: number) => submit(`{"workflow":${"[".repeat(levels)}${"]".repeat(levels)}}`);
const typed = (type: string) => submit('{"prompt": "a"}', { "Content-Type": type });

/** Four times the limit, without a length. */
function endless(): ReadableStream<Uint8Array> {
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      sent += 65_536;
      controller.enqueue(new Uint8Array(65_536).fill(32));
      if (sent > 4 * MAX_BODY_BYTES) controller.close();
    },
  });
}

export const TRANSPORT: readonly Row[] = [
  ["B1", "an empty body", submit(""), 400, "BAD_REQUEST"],
  ["B2", "a body cut off", submit("{"), 400, "BAD_REQUEST"],
  ["B3", "two values", submit("{}{}"), 400, "BAD_REQUEST"],
  ["B4", "a byte order mark", submit("\uFEFF{}"), 400, "BAD_REQUEST"],
  ["B5", "bytes that are not UTF-8", submitBytes(new Uint8Array([0x7b, 0xff, 0x7d])), 400, "BAD_REQUEST"],
  ["B6", "NaN", submit('{"cfg_scale": NaN}'), 400, "BAD_REQUEST"],
  ["B6", "Infinity", submit('{"cfg_scale": Infinity}'), 400, "BAD_REQUEST"],
  ["B6", "a comment", submit('{"prompt": "a" /* b */}'), 400, "BAD_REQUEST"],
  ["B6", "single quotes", submit("{'prompt': 'a'}"), 400, "BAD_REQUEST"],
  ["B7", "1e400", withField("cfg_scale", "1e400"), 422, "VALIDATION_ERROR"],
  ["B8", "100,000 levels", deep(100_000), 400, "BAD_REQUEST"],
  ["B9", "65 levels", deep(64), 400, "BAD_REQUEST"],
  ["B10", "a key twice", submit('{"prompt": "a", "steps": 1, "steps": 9999}'), 400, "BAD_REQUEST"],
  ["B11", "a field __proto__", withField("__proto__", '{"x": 1}'), 422, "VALIDATION_ERROR"],
  ...["__proto__", "constructor", "prototype"].flatMap((name): Row[] => [
    [
      "B11",
      `a node ${name}`,
      workflow(`{"${name}": {"class_type": "SaveImage", "inputs": {}}}`),
      422,
      "INVALID_WORKFLOW",
    ],
    ["B11", `an input ${name}`, node(`{"${name}": 1}`), 422, "INVALID_WORKFLOW"],
  ]),
  ["B11", "metadata __proto__", withField("metadata", '{"__proto__": "x"}'), 422, "VALIDATION_ERROR"],
  ["B12", "half a surrogate pair", submit('{"prompt": "\\ud800"}'), 422, "VALIDATION_ERROR"],
  ["B13", "a NUL", submit('{"prompt": "a\\u0000b"}'), 422, "VALIDATION_ERROR"],
  ["B14", "a model that reads backwards", withField("model", '"a\\u202etensors"'), 422, "VALIDATION_ERROR"],
  [
    "B14",
    "a node with a hidden space",
    workflow('{"1\\u200b": {"class_type": "SaveImage", "inputs": {}}}'),
    422,
    "INVALID_WORKFLOW",
  ],
  [
    "B15",
    "one byte too many, declared",
    submit("{}", { "Content-Length": String(MAX_BODY_BYTES + 1) }),
    413,
    "REQUEST_TOO_LARGE",
  ],
  [
    "B16",
    "too many, in chunks",
    ({ user }) => send("/api/v1/jobs", { ...post(user.key, ""), body: endless() }),
    413,
    "REQUEST_TOO_LARGE",
  ],
  ["B18", "a compressed body", submit("{}", { "Content-Encoding": "gzip" }), 415, "UNSUPPORTED_MEDIA"],
  ["B19", "text/plain", typed("text/plain"), 415, "UNSUPPORTED_MEDIA"],
  ["B19", "a form", typed("application/x-www-form-urlencoded"), 415, "UNSUPPORTED_MEDIA"],
  ["B19", "a multipart form", typed("multipart/form-data; boundary=x"), 415, "UNSUPPORTED_MEDIA"],
  ["B20", "no content type", typed(""), 415, "UNSUPPORTED_MEDIA"],
  ["B21", "UTF-16", typed("application/json; charset=utf-16"), 415, "UNSUPPORTED_MEDIA"],
  ["B22", "PUT where POST belongs", ask("PUT", "/api/v1/jobs"), 405, "METHOD_NOT_ALLOWED"],
  ["B22", "POST where GET belongs", ask("POST", "/api/v1/usage"), 405, "METHOD_NOT_ALLOWED"],
  ...["/.//jobs", "/api/v1/jobs/../x", "/api/v1/%2e%2e/x", "/api/v1/jobs/%00", "/api/v1/JOBS", "/api/v1/nothing"].map(
    (path): Row => ["B24", `the path ${path}`, get(path), 404, "NOT_FOUND"],
  ),
  ...["limit=-1", "limit=0", "limit=1e9", "limit=abc", "limit=1&limit=2", "offset=-1", "status=done"].map(
    (query): Row => ["B25", `a list with ${query}`, get(`/api/v1/jobs?${query}`), 400, "BAD_REQUEST"],
  ),
  ["B26", "a forged cursor", get("/api/v1/jobs?cursor=forged"), 400, "BAD_REQUEST"],
  ...["[]", "7", "null", '"a"', "true"].map(
    (body): Row => ["B27", `the body ${body}`, submit(body), 422, "VALIDATION_ERROR"],
  ),
  ["B28", "an unknown field", submit('{"prompt": "a", "promt": "b"}'), 422, "VALIDATION_ERROR"],
  [
    "B30",
    "a method override",
    ask("PATCH", "/api/v1/jobs/j_0123456789ab", { "X-HTTP-Method-Override": "DELETE" }),
    405,
    "METHOD_NOT_ALLOWED",
  ],
  ["B32", "Accept: image/*, which gets JSON", get("/api/v1/jobs", { Accept: "image/*" }), 200, null],
];
