/**
 * Owns one example of each thing a client is answered, for the OpenAPI document.
 * Invariant: each parses by the schema it stands at (a test does), and all tell of the same job.
 */

const JOB = "j_68f6a1b2c3d4";
const KEY = "ugmapnnac0kax6n9";
const HOST = "https://comfy-edge.example.com";
const [QUEUED, STARTED, FINISHED] = [
  "2026-10-20T12:00:00.000Z",
  "2026-10-20T12:00:00.412Z",
  "2026-10-20T12:00:06.731Z",
];
const FILE = `${HOST}/a30/${KEY}/${JOB}/1-5x0c2m9k/0.png?X-Amz-Signature=…`;

export const RECEIPT_EXAMPLE = {
  job_id: JOB,
  status: "queued",
  queued_at: QUEUED,
  location: `/api/v1/jobs/${JOB}`,
  status_url: `${HOST}/api/v1/jobs/${JOB}`,
  websocket_url: `wss://comfy-edge.example.com/ws/jobs/${JOB}`,
  events_url: `${HOST}/api/v1/jobs/${JOB}/events`,
  cancel_url: `${HOST}/api/v1/jobs/${JOB}/cancel`,
  pool: "default",
  user_id: null,
  request_id: "3f0c6c1e-6a52-4f6e-9d0e-0c4a7a1f5b11",
  idempotent_replay: false,
};

export const JOB_EXAMPLE = {
  job_id: JOB,
  status: "succeeded",
  progress: 1,
  progress_detail: null,
  waiting: null,
  source: "parameters",
  params: {
    prompt: "a lighthouse at dusk, oil painting",
    negative_prompt: null,
    width: 512,
    height: 512,
    steps: 20,
    cfg_scale: 7,
    sampler: "euler_ancestral",
    scheduler: "normal",
    seed: 42,
    model: "v1-5-pruned-emaonly.ckpt",
    batch_size: 1,
    denoise: 1,
  },
  template: null,
  workflow_hash: "6fc1f0046040b3992ca98822564a5fff2254e68224a1febbc4fa3e7b44e63467",
  pool: "default",
  priority: 0,
  user_id: null,
  submitted_by: "7k2m9x4q",
  metadata: { order: "1742" },
  result: {
    artifacts: [
      {
        index: 0,
        filename: "image_0.png",
        type: "image",
        content_type: "image/png",
        size_bytes: 401_225,
        width: 512,
        height: 512,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        seed: 42,
        node_id: "9",
        key: `a30/${KEY}/${JOB}/1-5x0c2m9k/0.png`,
        url: FILE,
        url_expires_at: "2026-10-21T12:00:07.000Z",
        text: null,
        meta: {},
      },
    ],
    generation_time: 6.319,
  },
  result_url: FILE,
  error: null,
  timestamps: {
    queued_at: QUEUED,
    started_at: STARTED,
    finished_at: FINISHED,
    expires_at: "2026-11-19T12:00:06.731Z",
  },
  attempt: 1,
  max_attempts: 3,
  cancel_requested: false,
  revision: 3,
  receipt: {
    queue_ms: 412,
    prepare_ms: 38,
    load_ms: 1_204,
    run_ms: 4_801,
    upload_ms: 276,
    total_ms: 6_731,
    attempts: 1,
    attempts_charged: 0,
    gpu_seconds: 6.005,
    gpu_name: "NVIDIA GeForce RTX 4090",
    agent: "ag_3f9c2b7d",
    gpu_idle_after_cancel_ms: null,
  },
  logs: [],
};

const { params: _params, logs: _logs, ...LISTED_JOB } = JOB_EXAMPLE;
export const JOB_LIST_EXAMPLE = { jobs: [LISTED_JOB], total: 1, limit: 20, offset: 0, next_cursor: null };

export const EVENTS_EXAMPLE = {
  events: [
    { revision: 1, ts: QUEUED, from: null, to: "queued", attempt: 0, cause: "submit" },
    { revision: 2, ts: STARTED, from: "queued", to: "running", attempt: 1, cause: "claim" },
    { revision: 3, ts: FINISHED, from: "running", to: "succeeded", attempt: 1, cause: "complete" },
  ],
};

export const USAGE_EXAMPLE = {
  period: { from: "2026-10-20T00:00:00.000Z", to: "2026-10-20T12:01:00.000Z" },
  role: "pro",
  region: "weur",
  limits: { daily: 100, max_active: 25, max_running: 3 },
  today: { jobs: 1, remaining: 99, resets_at: "2026-10-21T00:00:00.000Z" },
  active: 0,
  running: 0,
  gpu_seconds: 6.005,
  by_day: [{ date: "2026-10-20", jobs: 1, succeeded: 1, failed: 0, gpu_seconds: 6.005 }],
};

export const MODELS_EXAMPLE = {
  models: [
    { name: "v1-5-pruned-emaonly.ckpt", kind: "checkpoints", size_bytes: 4_265_380_512, pools: ["default"] },
    { name: "add-detail-xl.safetensors", kind: "loras", size_bytes: 228_455_940, pools: ["default"] },
  ],
  total: 2,
  limit: 100,
  offset: 0,
};

export const TICKET_EXAMPLE = {
  ticket: `tk_${KEY}_68f6a1b2c3d4_…`,
  expires_at: "2026-10-20T12:01:00.000Z",
};

export const WEBHOOK_EXAMPLE = {
  id: "ep_0123456789ab",
  url: "https://hooks.example.com/comfy",
  description: "orders",
  events: ["job.succeeded", "job.failed", "job.canceled", "job.expired"],
  enabled: true,
  disabled_reason: null,
  failing_since: null,
  created_at: QUEUED,
};
