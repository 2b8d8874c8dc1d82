/**
 * Owns what clients send and receive about webhooks: endpoints, secrets, deliveries.
 * Invariant: objects are strict; a secret is shown to its owner alone; keys are always there, null when empty.
 */
import { z } from "zod";
import { DELIVERY_STATES, GIVEN_UP, HOOK_EVENTS, hookEventSchema, TERMINAL_EVENTS, TRY_OUTCOMES } from "../webhooks.ts";
import { WEBHOOK_EXAMPLE } from "./examples.ts";

const MAX_DESCRIPTION = 128;
const MAX_OVERLAP_S = 604_800;
const DAY_S = 86_400;

const time = z.string().meta({ format: "date-time", example: "2026-10-20T12:00:00.000Z" });
const count = z.number().int().min(0);
/** Judged as a target by `domain/outbound-target`; here only that it is text. */
const url = z.string().min(1).max(2_048).meta({ example: "https://hooks.example.com/comfy" });
const description = z
  .string()
  .trim()
  .max(MAX_DESCRIPTION)
  .regex(/^[^\p{Cc}]*$/u, "must hold no control characters");
const events = z
  .array(hookEventSchema)
  .min(1)
  .max(HOOK_EVENTS.length)
  .transform((list) => [...new Set(list)]);

export const newWebhookSchema = z
  .strictObject({
    url,
    description: description.default(""),
    events: events.default([...TERMINAL_EVENTS]).meta({ description: "Left out: the four ends of a job." }),
  })
  .meta({ id: "NewWebhook" });

export const changeWebhookSchema = z
  .strictObject({
    url: url.optional(),
    description: description.optional(),
    events: events.optional(),
    enabled: z.boolean().optional(),
  })
  .meta({ id: "WebhookChange" });

export const rotateSecretSchema = z
  .strictObject({
    overlap_seconds: z.number().int().min(0).max(MAX_OVERLAP_S).default(DAY_S).meta({
      description: "How long the secret before it signs beside the new one.",
    }),
  })
  .meta({ id: "SecretRotation" });

export const webhookSchema = z
  .object({
    id: z.string().meta({ example: "ep_0123456789ab" }),
    url: z.string(),
    description: z.string(),
    events: z.array(z.enum(HOOK_EVENTS)),
    enabled: z.boolean(),
    disabled_reason: z.enum(["owner", "gone", "failing"]).nullable(),
    failing_since: time.nullable(),
    created_at: time,
  })
  .meta({ id: "Webhook", example: WEBHOOK_EXAMPLE });
export type WebhookView = z.infer<typeof webhookSchema>;

export const webhookSecretSchema = z
  .object({
    secret: z.string().meta({ example: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
    version: count,
    previous_expires_at: time.nullable().meta({ description: "Until then the secret before it signs, too." }),
  })
  .meta({ id: "WebhookSecret" });
export type WebhookSecretView = z.infer<typeof webhookSecretSchema>;

export const madeWebhookSchema = webhookSchema.extend({ secret: z.string() }).meta({ id: "MadeWebhook" });
export const webhookListSchema = z.object({ webhooks: z.array(webhookSchema) }).meta({ id: "WebhookList" });

const deliveryFields = z.object({
  id: z.string().meta({ example: "dl_0192a3b4c5d6e7f801" }),
  message_id: z.string().meta({ description: "The header `webhook-id`, the same on every try." }),
  webhook: z.string().nullable().meta({ description: "Null: the job's own `webhook_url`." }),
  event: z.enum(HOOK_EVENTS),
  job_id: z.string(),
  url: z.string(),
  status: z.enum(DELIVERY_STATES),
  reason: z.enum(GIVEN_UP).nullable().meta({ description: "Why it was given up." }),
  tries: count.meta({ description: "Of the present schedule." }),
  next_try_at: time.nullable(),
  attempts: z.array(
    z.object({ ts: time, outcome: z.enum(TRY_OUTCOMES), status: count.nullable(), duration_ms: count }),
  ),
  created_at: time,
  ended_at: time.nullable(),
  expires_at: time,
});
export const deliveryListItemSchema = deliveryFields.meta({ id: "DeliveryListItem" });
export type DeliveryListItem = z.infer<typeof deliveryListItemSchema>;
export const deliverySchema = deliveryFields
  .extend({ body: z.string().nullable().meta({ description: "The bytes of every try; null once erased." }) })
  .meta({ id: "Delivery" });
export const deliveryListSchema = z
  .object({ deliveries: z.array(deliveryListItemSchema), next_cursor: z.string().nullable() })
  .meta({ id: "DeliveryList" });
