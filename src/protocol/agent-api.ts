/**
 * Owns what travels between control plane and gpu-agent: HTTP bodies, control-socket messages, the doorbell.
 * Invariant: both sides parse with these schemas before they touch anything; unknown fields are dropped, never trusted.
 */
import { z } from "zod";
import { jobErrorCodeSchema } from "./errors.ts";
import { ARTIFACT_TYPES } from "./job.ts";
import { logLineSchema, phaseSchema, progressDetailSchema, progressSchema } from "./progress.ts";
import { jobStateSchema } from "./states.ts";
import { DOORBELL_VERSION } from "./version.ts";

export * from "./queue-pull.ts";

export const HEADER_LEASE = "X-Lease";
export const HEADER_PROTOCOL = "X-Agent-Protocol";

const ms = z.number().int().min(0).max(1e12);
const name = z.string().min(1).max(512);
const refText = z.string().max(128);
const md5 = z.string().regex(/^[0-9a-f]{32}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const sizeBytes = z.number().int().min(0).max(5_368_709_120);
const shapeHash = z.string().regex(/^[0-9a-f]{16}$/);
/** Bucket keys hold only these characters (CONTRACT 3). */
const bucketKey = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9/_.-]+$/);

/** Body of a queue message, content type text: a signed pointer, no authority, no secret. */
export const doorbellSchema = z.object({ v: z.literal(DOORBELL_VERSION), ref: refText });

export const missingSchema = z.object({ kind: z.string().max(64), name });

// --- control socket ------------------------------------------------------------------------------------------------

export const slotStateSchema = z.enum(["idle", "busy", "preparing", "busy_by_owner", "paused", "sick"]);
export type SlotState = z.infer<typeof slotStateSchema>;

export const capabilitySchema = z.object({
  os: z.string().max(64),
  comfyui_version: z.string().max(64),
  gpus: z.array(z.object({ name: z.string().max(128), vram_mb: z.number().int().min(0) })).max(32),
  models: z
    .array(z.object({ kind: z.string().max(64), name, size_bytes: z.number().int().min(0).nullable() }))
    .max(20_000),
  node_classes: z.array(name).max(20_000),
  custom_nodes: z.array(name).max(2_000),
  disk_free_bytes: z.number().int().min(0),
  loaded_models: z.array(name).max(100),
});
export type Capability = z.infer<typeof capabilitySchema>;

/** Bounds of the buckets in which an agent counts the seconds of its calls to ComfyUI; one bucket more is beyond the last. */
export const COMFY_CALL_BOUNDS_S: readonly number[] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];
const tally = z.number().int().min(0).max(1e9);

/** How long ComfyUI worked on a workflow of this shape. */
export const ranSchema = z.object({ shape: shapeHash, run_ms: ms });
export type Ran = z.infer<typeof ranSchema>;
/** Runs an agent remembers, for the times that are told to who waits. */
export const MAX_RUNS_TOLD = 32;

const slotNumber = z.number().int().min(0).max(63);
export const controlUpSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    agent: z.string().max(64),
    /** Random per process start: a second process with the same token is told apart. */
    instance: z.string().max(64),
    version: z.string().max(32),
    slots: z.array(z.object({ slot: slotNumber, state: slotStateSchema })).max(64),
    capability_hash: z.string().max(64),
    capability: capabilitySchema.optional(),
    /** Its latest runs that ended well, the oldest first. */
    runs: z.array(ranSchema).max(MAX_RUNS_TOLD).optional(),
  }),
  z.object({
    type: z.literal("slot"),
    slot: slotNumber,
    state: slotStateSchema,
    ref: refText.optional(),
    /** Claimed ahead: waits behind `ref`. */
    next: refText.optional(),
    /** Its present job should end soon: it would claim one job ahead. */
    ahead: z.boolean().optional(),
    /** Model files in its memory, as far as its own runs tell. */
    loaded: z.array(name).max(16).optional(),
    reason: z.string().max(256).optional(),
    /** A run that has just ended well, and how long ComfyUI worked on it. Told once. */
    ran: ranSchema.optional(),
    /** Its last attempt failed: which one, and why. Told once. */
    error: z.object({ ref: refText, text: z.string().max(256) }).optional(),
  }),
  z.object({ type: z.literal("known?"), refs: z.array(refText).max(100) }),
  z.object({ type: z.literal("declined"), ref: refText }),
  /** Counts since the last of these, and how it is now. */
  z.object({
    type: z.literal("metrics"),
    comfyui: z.object({
      requests: tally,
      failures: tally,
      buckets: z.array(tally).length(COMFY_CALL_BOUNDS_S.length + 1),
      seconds: z.number().min(0).max(1e9),
      /** The worst of its slots. */
      breaker: z.enum(["closed", "open", "half_open"]),
    }),
    /** Utilization of each GPU that can be asked. */
    gpu_percent: z.array(z.number().min(0).max(100)).max(32),
    /** Of the process and its GPUs. */
    memory_bytes: z.number().int().min(0),
  }),
]);
export type ControlUp = z.infer<typeof controlUpSchema>;

export const controlDownSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("offer"), ref: refText, ahead: z.boolean() }),
  z.object({ type: z.literal("taken"), refs: z.array(refText) }),
  z.object({ type: z.enum(["drain", "resume", "pause"]), until: z.number().int().nullable() }),
  z.object({ type: z.literal("want_capability") }),
  /** When this socket ends, come back at a moment chosen by chance within so long: the whole fleet may have lost its own. */
  z.object({ type: z.literal("reconnect"), within_ms: z.number().int().min(0).max(60_000) }),
  /** The deployment makes no offers: pull as if there were no control socket. */
  z.object({ type: z.literal("offers"), enabled: z.boolean() }),
  /** `now`: whether it runs or waits, by an operator's word. */
  z.object({ type: z.literal("give_back"), ref: refText, now: z.boolean().optional() }),
  /** It lost two leases within 5 minutes: prove ComfyUI by a small run before the next job. */
  z.object({ type: z.literal("rest") }),
]);
export type ControlDown = z.infer<typeof controlDownSchema>;

// --- claims ----------------------------------------------------------------------------------------------------------

export const claimRequestSchema = z.object({
  ref: refText,
  /** Random; asking again with the same one after a lost reply returns the same attempt. */
  claim_id: z.string().regex(/^[0-9a-zA-Z_-]{16,64}$/),
  slot: slotNumber,
  ahead: z.boolean(),
});

export const claimRefusalSchema = z.enum(["gone", "already_claimed", "not_yet", "wrong_pool", "not_for_you"]);
export type ClaimRefusal = z.infer<typeof claimRefusalSchema>;

/** The socket grace of a grant that names none. */
export const DEFAULT_SOCKET_GRACE_MS = 9_000;

export const claimGrantSchema = z.object({
  lease: z.string().max(128),
  lease_expires_in_ms: ms,
  renew_every_ms: ms,
  /** What is left of the lease once the progress socket is seen broken; absent: `DEFAULT_SOCKET_GRACE_MS`. */
  socket_grace_ms: ms.optional(),
  account: z.string(),
  job: z.string(),
  attempt: z.number().int().min(1),
  /** The graph in API format as text, integers verbatim: it goes to ComfyUI without being parsed into numbers. */
  workflow: z.string(),
  workflow_hash: z.string(),
  /** Hash of the workflow's shape, told back with how long it ran. */
  shape: shapeHash.nullish(),
  inputs: z.array(z.object({ name, url: z.url(), size_bytes: sizeBytes, md5 })),
  output: z.object({ max_files: z.number().int(), max_bytes: z.number().int(), keep_metadata: z.boolean() }),
  limits: z.object({ run_ms: ms, no_progress_ms: ms }),
  progress_url: z.string(),
  traceparent: z.string().nullable(),
});
export type ClaimGrantBody = z.infer<typeof claimGrantSchema>;

// --- lease calls (header X-Lease) -----------------------------------------------------------------------------------

/** All lines of the attempt so far, the latest 50: said again and again, kept once. */
const attemptLogs = z.array(logLineSchema).max(50).optional();
export const renewRequestSchema = z.object({
  phase: phaseSchema,
  progress: progressSchema,
  progress_detail: progressDetailSchema.nullable(),
  logs: attemptLogs,
});
export type RenewRequest = z.infer<typeof renewRequestSchema>;

export const renewAnswerSchema = z.object({
  answer: z.enum(["continue", "cancel", "lost"]),
  lease_expires_in_ms: ms,
});
export type RenewAnswer = z.infer<typeof renewAnswerSchema>;

const artifactType = z.enum(ARTIFACT_TYPES);
const fileName = z.string().min(1).max(255);
const contentType = z
  .string()
  .max(128)
  .regex(/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/);

export const uploadsRequestSchema = z.object({
  files: z
    .array(
      z.object({ name: fileName, type: artifactType, content_type: contentType, size_bytes: sizeBytes, md5, sha256 }),
    )
    .min(1)
    .max(1000),
});
export type UploadsRequest = z.infer<typeof uploadsRequestSchema>;

/** In the order of the request. The headers are signed: send exactly these. A 412 answer to the PUT means it is done. */
export const uploadsAnswerSchema = z.object({
  uploads: z.array(
    z.object({
      name: fileName,
      key: bucketKey,
      url: z.url(),
      method: z.literal("PUT"),
      headers: z.record(z.string(), z.string()),
    }),
  ),
});
export type UploadsAnswer = z.infer<typeof uploadsAnswerSchema>;

export const metricsSchema = z.object({
  prepare_ms: ms,
  load_ms: ms,
  run_ms: ms,
  upload_ms: ms,
  gpu_seconds: z.number().min(0).max(1e7),
  gpu_name: z.string().max(128).nullable(),
});
export type AttemptMetrics = z.infer<typeof metricsSchema>;

/** Characters of text without a file, all of one manifest together: they lie in the job's row and go with every list. */
export const MAX_MANIFEST_TEXT = 32_768;
const dimension = z.number().int().min(1).max(65_536).nullable();
/** Exactly one of `key` and `text` is given: a file in the bucket, or text without a file. */
export const manifestEntrySchema = z.object({
  name: fileName,
  key: bucketKey.nullable(),
  type: artifactType,
  content_type: contentType,
  size_bytes: sizeBytes,
  md5: md5.nullable(),
  sha256,
  node_id: z.string().max(128).nullable(),
  width: dimension,
  height: dimension,
  /** Integer as text, exact to 2^64-1. */
  seed: z
    .string()
    .regex(/^\d{1,20}$/)
    .nullable(),
  text: z.string().max(MAX_MANIFEST_TEXT).nullable(),
});
export type ManifestEntry = z.infer<typeof manifestEntrySchema>;

export const completeRequestSchema = z.object({
  artifacts: z
    .array(manifestEntrySchema)
    .max(1000)
    .refine(
      (entries) => entries.reduce((sum, { text }) => sum + (text?.length ?? 0), 0) <= MAX_MANIFEST_TEXT,
      `hold at most ${MAX_MANIFEST_TEXT} characters of text together; longer texts are files`,
    ),
  metrics: metricsSchema,
  logs: attemptLogs,
});
export type CompleteRequest = z.infer<typeof completeRequestSchema>;

/** What an agent can know. The other codes are verdicts of the control plane. */
const agentErrorCode = jobErrorCodeSchema.exclude(["AGENT_LOST", "POISON", "UNDELIVERABLE", "QUEUE_TIMEOUT"]);
export const failRequestSchema = z.object({
  code: agentErrorCode,
  message: z.string().max(1000),
  transient: z.boolean(),
  node_id: z.string().max(128).nullable(),
  node_type: z.string().max(256).nullable(),
  metrics: metricsSchema,
  logs: attemptLogs,
});
export type FailRequest = z.infer<typeof failRequestSchema>;

export const releaseRequestSchema = z.object({
  reason: z.enum(["drain", "cannot_run", "give_back"]),
  missing: z.array(missingSchema).max(100),
});
export type ReleaseRequest = z.infer<typeof releaseRequestSchema>;

export const stoppedRequestSchema = z.object({
  how: z.enum(["interrupted", "deleted", "finished", "killed", "never_started"]),
  gpu_idle_after_ms: ms.nullable(),
});
export type StoppedRequest = z.infer<typeof stoppedRequestSchema>;

/** Answer of complete, fail, release and stopped: the job's state afterwards, the same for the same lease again. */
export const finishAnswerSchema = z.object({ status: jobStateSchema });
export type FinishAnswer = z.infer<typeof finishAnswerSchema>;

/** 409 body of a claim; lease calls answer `{refusal: "lease_lost"}`. */
export const claimRefusalBodySchema = z.object({ refusal: claimRefusalSchema });
