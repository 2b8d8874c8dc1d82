/**
 * Owns what the OpenAPI document says of /v1.
 * Invariant: every status a route can answer is here, in the dialect's own form.
 */
import { z } from "@hono/zod-openapi";
import { jsonContent, type RouteSpec } from "../../documented-route.ts";
import { v1ErrorForm } from "./detail.ts";
import { v1CanceledSchema, v1JobSchema, v1ListSchema, v1ReceiptSchema } from "./job.ts";
import { v1CreateSchema, v1ListQuerySchema } from "./request.ts";

const common = { policy: "client", tags: ["v1"], errorForm: v1ErrorForm } satisfies Partial<RouteSpec>;
const id = z.object({ id: z.string().meta({ example: "j_68f6a1b2c3d4" }) });

const example = {
  workflow: {
    "3": {
      class_type: "KSampler",
      inputs: {
        seed: 42,
        steps: 20,
        cfg: 7,
        sampler_name: "euler",
        scheduler: "normal",
        denoise: 1,
        model: ["4", 0],
        positive: ["6", 0],
        negative: ["7", 0],
        latent_image: ["5", 0],
      },
    },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly.ckpt" } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: 512, height: 512, batch_size: 1 } },
    "6": { class_type: "CLIPTextEncode", inputs: { text: "a lighthouse at dusk", clip: ["4", 1] } },
    "7": { class_type: "CLIPTextEncode", inputs: { text: "", clip: ["4", 1] } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { filename_prefix: "lighthouse", images: ["8", 0] } },
  },
  inputs: [{ node: "3", field: "seed", value: 7, type: "raw" }],
};

export const submit: RouteSpec = {
  ...common,
  method: "post",
  path: "/jobs",
  summary: "Submit a workflow",
  description: "A ComfyUI graph in API format, with overrides. Whatever is wrong with workflow, media or a URL is 400.",
  request: {
    headers: z.object({ "Idempotency-Key": z.string().optional() }),
    body: { required: true, content: { "application/json": { schema: v1CreateSchema, example } } },
  },
  responses: { 200: jsonContent(v1ReceiptSchema, "Accepted, or the job of an earlier request with this key.") },
  errors: [
    "VALIDATION_ERROR",
    "MISSING_SOURCE",
    "INVALID_WORKFLOW",
    "NODE_NOT_ALLOWED",
    "BUDGET_EXCEEDED",
    "UNKNOWN_MODEL",
    "UNKNOWN_POOL",
    "URL_NOT_ALLOWED",
    "MEDIA_INVALID",
    "IDEMPOTENCY_KEY_REUSED",
    "REQUEST_TOO_LARGE",
    "WORKFLOW_TOO_LARGE",
    "UNSUPPORTED_MEDIA",
    "CONCURRENCY_LIMIT",
    "QUOTA_EXCEEDED",
    "QUEUE_FULL",
    "FEATURE_DISABLED",
  ],
};

export const list: RouteSpec = {
  ...common,
  method: "get",
  path: "/jobs",
  summary: "List your jobs, newest first",
  request: { query: v1ListQuerySchema },
  responses: { 200: jsonContent(v1ListSchema, "The newest jobs; there are no pages.") },
};

export const read: RouteSpec = {
  ...common,
  method: "get",
  path: "/jobs/{id}",
  summary: "Read a job",
  request: { params: id },
  responses: { 200: jsonContent(v1JobSchema, "The job, links signed now.") },
  errors: ["NOT_FOUND"],
};

export const cancel: RouteSpec = {
  ...common,
  method: "delete",
  path: "/jobs/{id}",
  summary: "Cancel a job",
  request: { params: id },
  responses: { 200: jsonContent(v1CanceledSchema, "Canceled, about to be, or over before: `message` says which.") },
  errors: ["NOT_FOUND"],
};

export const health: RouteSpec = {
  ...common,
  policy: "open",
  method: "get",
  path: "/health",
  summary: "Say that the API answers",
  responses: {
    200: jsonContent(
      z.object({ status: z.literal("ok"), timestamp: z.string() }),
      "Asks nobody: see /readyz for more.",
    ),
  },
};
