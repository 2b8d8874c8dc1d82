/**
 * Owns what a client may send to create a job, and what it may ask of the list.
 * Invariant: objects are strict (an unknown field is an error that names it); the graph itself is left to workflow-graph.
 */
import { z } from "zod";
import { isPlainFileName, MAX_FILE_NAME } from "../file-names.ts";
import { poolNameSchema, userIdSchema } from "../ids.ts";
import { SAMPLERS, SCHEDULERS } from "../sampler-names.ts";

export const MAX_SEED = 2 ** 32 - 1;
/** ComfyUI's widest seed. */
const MAX_WORKFLOW_SEED = 2n ** 64n - 1n;
/** Hard maximum of images per job; a role may allow fewer. */
export const MAX_BATCH = 10;
export const MAX_MEDIA = 10;
export const MAX_METADATA = 16;

/** Two sides of 2048 make 4,194,304 pixels: no further bound is needed. */
const side = z.number().int().min(64).max(2048).multipleOf(8);
/** Names a file below the models folder. */
export const modelNameSchema = z
  .string()
  .min(1)
  .max(MAX_FILE_NAME)
  .refine(isPlainFileName, "must be a plain model file name");

/** The fields of the parameters source. */
export const parameterShape = {
  prompt: z.string().trim().min(1).max(5000).meta({ example: "a lighthouse at dusk, oil painting" }),
  negative_prompt: z.string().trim().max(2000).nullable(),
  width: side.meta({ default: 512, multipleOf: 8 }),
  height: side.meta({ default: 512, multipleOf: 8 }),
  steps: z.number().int().min(1).max(150).meta({ default: 20 }),
  cfg_scale: z.number().min(1).max(30).meta({ default: 7 }),
  sampler: z.enum(SAMPLERS).meta({ default: "euler_ancestral" }),
  scheduler: z.enum(SCHEDULERS).meta({ default: "normal" }),
  seed: z.number().int().min(-1).max(MAX_SEED).nullable().meta({ description: "-1 or null: we choose one." }),
  model: modelNameSchema.meta({ description: "Left out: the pool's default model." }),
  batch_size: z.number().int().min(1).max(MAX_BATCH).meta({ default: 1 }),
  num_images: z.number().int().min(1).max(MAX_BATCH).meta({ description: "Another name of batch_size." }),
  denoise: z.number().min(0).max(1).meta({ default: 1 }),
};
export type ParameterName = keyof typeof parameterShape;
export const PARAMETER_NAMES = Object.keys(parameterShape) as readonly ParameterName[];

export const inputSchema = z.strictObject({
  node: z.string().min(1).max(64),
  field: z.string().min(1).max(128),
  value: z.unknown(),
  type: z.enum(["raw", "image_base64", "image_url"]).default("raw"),
});

export const mediaSchema = z.strictObject({
  name: z.string().min(1).max(255),
  data: z.string().optional(),
  url: z.string().max(2048).optional(),
  upload_id: z.string().max(64).optional(),
});

const seconds = (max: number) => z.number().int().min(1).max(max);
export const MAX_TIMEOUT_S = 1200;
export const MAX_QUEUE_TIMEOUT_S = 86_400;

/** `__proto__` is a name that objects lose. */
export const metadataNameSchema = z
  .string()
  .min(1)
  .max(64)
  .refine((name) => name !== "__proto__", "is no name for a pair");
const metadataPairs = z
  .record(metadataNameSchema, z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= MAX_METADATA, `holds at most ${MAX_METADATA} pairs`);
/** A record drops `__proto__` without a word, so that is looked for before. */
export const metadataSchema = z
  .unknown()
  .refine((value) => !(typeof value === "object" && value !== null && Object.hasOwn(value, "__proto__")), {
    path: ["__proto__"],
    message: "is no name for a pair",
    abort: true,
  })
  .pipe(metadataPairs)
  .meta({ type: "object", additionalProperties: { type: "string", maxLength: 512 } });

/** The body of POST /api/v1/jobs. Defaults are set later, so that what was sent can be told from what was not. */
export const createJobSchema = z
  .strictObject({
    ...z.object(parameterShape).partial().shape,
    workflow: z
      .unknown()
      .optional()
      .meta({ type: "object", description: "A ComfyUI graph in API format: node id -> {class_type, inputs}." }),
    template: z.string().min(1).max(64).nullable().optional(),
    params: z.record(z.string(), z.unknown()).nullable().optional(),
    inputs: z.array(inputSchema).max(100).nullable().optional(),
    media: z.array(mediaSchema).max(MAX_MEDIA).nullable().optional(),
    pool: poolNameSchema.nullable().optional(),
    priority: z.number().int().min(0).max(9).optional(),
    webhook_url: z.string().max(2048).nullable().optional(),
    user_id: userIdSchema.nullable().optional(),
    metadata: metadataSchema.nullable().optional(),
    timeout_seconds: seconds(MAX_TIMEOUT_S).nullable().optional(),
    queue_timeout_seconds: seconds(MAX_QUEUE_TIMEOUT_S).nullable().optional(),
  })
  .meta({ id: "CreateJob" });
export type CreateJob = z.infer<typeof createJobSchema>;

export const MAX_BULK = 10;
/** The bodies of POST /jobs/bulk and /generate/batch. */
export const bulkSchema = z.strictObject({ jobs: z.array(createJobSchema).min(1).max(MAX_BULK) });
export const generateBatchSchema = z.strictObject({ requests: z.array(createJobSchema).min(1).max(MAX_BULK) });

/** The body of POST /jobs/{id}/rerun. A seed beyond 2^53 arrives as bigint. */
export const rerunSchema = z.strictObject({
  seed: z
    .union([z.number().int().min(-1), z.bigint().min(0n).max(MAX_WORKFLOW_SEED)])
    .nullable()
    .optional()
    .meta({
      type: ["integer", "null"],
      minimum: -1,
      description:
        "-1: we choose one. Left out or null: as it ran. To 2^32-1 for parameters, to 2^64-1 for a workflow.",
    }),
});

/** `Idempotency-Key`: 1 to 255 visible ASCII characters; the quoted spelling names the same key. */
export const idempotencyKeySchema = z
  .string()
  .transform((text) => (/^".*"$/.test(text) ? text.slice(1, -1) : text))
  .pipe(z.string().regex(/^[\x21-\x7e]{1,255}$/));
