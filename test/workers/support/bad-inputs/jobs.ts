/**
 * Owns rows B64 to B97 of the bad-input catalogue that need no earlier request: limits of a job, workflows.
 * Invariant: what only an agent's ComfyUI can tell (missing inputs, values of a list: B93, B94) is the job's error, not a row.
 */
import { ask, get, node, type Row, submit, withField, workflow } from "./row.ts";

const BAD = "INVALID_WORKFLOW";
const GRAPH = '{"1": {"class_type": "SaveImage", "inputs": {}}}';
const pairs = (n: number) => JSON.stringify(Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, "v"])));
const ring = (n: number) =>
  JSON.stringify(
    Object.fromEntries(
      Array.from({ length: n }, (_, i) => [
        String(i),
        { class_type: "SaveImage", inputs: { images: [String((i + 1) % n), 0] } },
      ]),
    ),
  );
const many = (n: number) =>
  JSON.stringify(
    Object.fromEntries(Array.from({ length: n }, (_, i) => [String(i), { class_type: "SaveImage", inputs: {} }])),
  );
const putIn = (value: string) =>
  submit(
    `{"workflow": {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}, "inputs": [{"node": "1", "field": "image", "type": "raw", "value": ${value}}]}`,
  );
const loading = (classType: string, input: string, name: string) => node(JSON.stringify({ [input]: name }), classType);

export const JOBS: readonly Row[] = [
  ["B64", "canceling a garbage id", ask("POST", "/api/v1/jobs/garbage/cancel"), 404, "NOT_FOUND"],
  ...["0", "-1", "1000000000", '"60"', "1.5"].flatMap((value): Row[] => [
    ["B67", `a timeout of ${value}`, withField("timeout_seconds", value), 422, "VALIDATION_ERROR"],
    ["B67", `a queue timeout of ${value}`, withField("queue_timeout_seconds", value), 422, "VALIDATION_ERROR"],
  ]),
  ...["10", "-1", "1.5", '"1"'].map(
    (value): Row => ["B68", `priority ${value}`, withField("priority", value), 422, "VALIDATION_ERROR"],
  ),
  ["B69", "65 pairs of metadata", withField("metadata", pairs(65)), 422, "VALIDATION_ERROR"],
  ["B69", "a value of 4 KB", withField("metadata", `{"a": "${"x".repeat(4_096)}"}`), 422, "VALIDATION_ERROR"],
  ["B69", "nested metadata", withField("metadata", '{"a": {}}'), 422, "VALIDATION_ERROR"],
  [
    "B70",
    "a webhook by id beside a URL",
    submit('{"prompt": "a", "webhook_url": "https://example.com/", "webhook_id": "ep_0123456789ab"}'),
    422,
    "VALIDATION_ERROR",
  ],
  ["B71", "the editor's format", workflow('{"nodes": [{"id": 1}], "links": []}'), 422, BAD],
  ["B71", "the body of POST /prompt", workflow(`{"prompt": ${GRAPH}, "client_id": "x"}`), 422, BAD],
  ["B72", "an empty object", workflow("{}"), 422, BAD],
  ["B72", "no output node", node("{}", "KSampler"), 422, BAD],
  ...["CheckpointSave", "TrainLoraNode", "LoadImageSetFromFolderNode", "SaveImageDataSetToFolder", "WebcamCapture"].map(
    (name): Row => ["B74", `the node ${name}`, node("{}", name), 422, "NODE_NOT_ALLOWED"],
  ),
  [
    "B75",
    "one that no output needs",
    workflow(`{"1": {"class_type": "SaveImage", "inputs": {}}, "2": {"class_type": "TrainLoraNode", "inputs": {}}}`),
    422,
    "NODE_NOT_ALLOWED",
  ],
  ...['["8", 0]', '["1", 0]', '["1", -1]', '["1", 99]', '["1"]', '["1", "0"]', "[1, 0]", "[]", '["1", 0, 0]'].map(
    (link): Row => ["B76", `the link ${link}`, node(`{"images": ${link}}`), 422, BAD],
  ),
  ["B77", "a circle of 2", workflow(ring(2)), 422, BAD],
  ["B77", "a circle of 50", workflow(ring(50)), 422, BAD],
  ["B78", "10,001 nodes", workflow(many(10_001)), 422, BAD],
  ["B78", "a prompt of 1 MB", node(`{"text": "${"x".repeat(1_000_000)}"}`), 413, "WORKFLOW_TOO_LARGE"],
  ...["0", "-8", "7", "16384", "16385", "512.5", '"512"', "null"].map(
    (value): Row => ["B79", `width ${value}`, withField("width", value), 422, "VALIDATION_ERROR"],
  ),
  [
    "B80",
    "8192 x 8192, 64 at once",
    node('{"width": 8192, "height": 8192, "batch_size": 64}', "EmptyLatentImage2"),
    422,
    "BUDGET_EXCEEDED",
  ],
  ["B81", "10,000 steps", withField("steps", "10000"), 422, "VALIDATION_ERROR"],
  ["B81", "10,000 steps in a workflow", node('{"steps": 10000}', "MySampler"), 422, "BUDGET_EXCEEDED"],
  ["B81", "cfg 1e308", withField("cfg_scale", "1e308"), 422, "VALIDATION_ERROR"],
  ["B81", "denoise 2", withField("denoise", "2"), 422, "VALIDATION_ERROR"],
  [
    "B82",
    "a size over a link",
    workflow(
      '{"1": {"class_type": "PrimitiveInt", "inputs": {"value": 16384}}, "2": {"class_type": "MyLatent", "inputs": {"width": ["1", 0], "height": ["1", 0]}}}',
    ),
    422,
    "BUDGET_EXCEEDED",
  ],
  [
    "B83",
    "64 repeated 64 times",
    workflow(
      '{"1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 64}}, "2": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["1", 0], "amount": 64}}, "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}}}',
    ),
    422,
    "BUDGET_EXCEEDED",
  ],
  ["B84", "seed -1 in a workflow", node('{"seed": -1}'), 422, BAD],
  ["B84", "seed 2^64", node('{"seed": 18446744073709551616}'), 422, BAD],
  ["B84", "seed 2^53+1 among parameters", withField("seed", "9007199254740993"), 422, "VALIDATION_ERROR"],
  ...["../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "file:///x"].map(
    (name): Row => ["B85", `the image ${name}`, loading("LoadImage", "image", name), 422, BAD],
  ),
  ...["../../etc/passwd", "/etc/passwd", "a.png [output]"].map(
    (name): Row => ["B85", `${name} put in as an input`, putIn(JSON.stringify(name)), 422, BAD],
  ),
  ...["other.png [output]", "x [temp]", "x [input] "].map(
    (name): Row => ["B86", `the image ${JSON.stringify(name)}`, loading("LoadImage", "image", name), 422, BAD],
  ),
  ...["../x.safetensors", "/models/x.ckpt", "\\\\host\\x.pt"].flatMap((name): Row[] => [
    ["B87", `the checkpoint ${name}`, loading("CheckpointLoaderSimple", "ckpt_name", name), 422, BAD],
    ["B87", `the model ${name}`, withField("model", JSON.stringify(name)), 422, "VALIDATION_ERROR"],
  ]),
  ["B88", "a prefix of 300 characters", node(`{"filename_prefix": "${"x".repeat(300)}"}`), 422, BAD],
  ["B89", "an embedding outside, in a workflow", node('{"text": "embedding:../../x"}', "CLIPTextEncode2"), 422, BAD],
  ["B89", "an embedding outside, in a prompt", submit('{"prompt": "embedding:../../x"}'), 422, "VALIDATION_ERROR"],
  ["B90", "a pattern that never ends", node('{"regex_pattern": "(a+)+$"}', "RegexExtract"), 422, BAD],
  [
    "B91",
    "extra keys of a node",
    workflow('{"1": {"class_type": "SaveImage", "inputs": {}, "is_changed": [1]}}'),
    422,
    BAD,
  ],
  [
    "B92",
    "extra_data",
    submit(`{"workflow": ${GRAPH}, "extra_data": {"api_key_comfy_org": "x"}}`),
    422,
    "VALIDATION_ERROR",
  ],
  ["B92", "a client_id", submit(`{"workflow": ${GRAPH}, "client_id": "x"}`), 422, "VALIDATION_ERROR"],
  ["B93", "a list where a value belongs", node('{"steps": [1, 2, 3]}'), 422, BAD],
  ["B96", "1,000 output nodes", workflow(many(1_000)), 422, BAD],
  ...["%2f", "-1", "1e0", "0x0", "%200", "00000"].map(
    (n): Row => ["B136", `the artifact ${n}`, get(`/api/v1/jobs/j_0123456789ab/artifacts/${n}`), 404, "NOT_FOUND"],
  ),
  ["B136", "the artifact ../", get("/api/v1/jobs/j_0123456789ab/artifacts/%2e%2e%2f"), 404, "NOT_FOUND"],
  ["B136", "the artifact NUL", get("/api/v1/jobs/j_0123456789ab/artifacts/%00"), 404, "NOT_FOUND"],
  ["B140", "a WebSocket without an upgrade", get("/ws/jobs/j_0123456789ab"), 426, "UPGRADE_REQUIRED"],
];
