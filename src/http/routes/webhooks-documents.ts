/**
 * Owns what the OpenAPI document says of the webhook routes.
 * Invariant: every status a route can answer is here; bodies are the schemas that enforce them.
 */
import { z } from "@hono/zod-openapi";
import {
  changeWebhookSchema,
  deliveryListSchema,
  deliverySchema,
  madeWebhookSchema,
  newWebhookSchema,
  rotateSecretSchema,
  webhookListSchema,
  webhookSchema,
  webhookSecretSchema,
} from "../../protocol/api/webhooks.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";
import { deliveryQuerySchema } from "../webhook-views.ts";

const WITH_BODY: readonly ErrorCode[] = ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA"];
const body = <S>(schema: S, required = true) => ({ required, content: { "application/json": { schema } } });
const common = { policy: "client" as const, tags: ["webhooks"] };
const id = z.object({ id: z.string().meta({ example: "ep_0123456789ab" }) });
const delivery = z.object({ id: z.string().meta({ example: "dl_0192a3b4c5d6e7f801" }) });

export const create: RouteSpec = {
  ...common,
  method: "post",
  path: "/webhooks",
  summary: "Add a webhook",
  description: "Every event named is POSTed to the URL, signed as Standard Webhooks 1.0 says, for up to a day.",
  request: { body: body(newWebhookSchema) },
  responses: { 201: jsonContent(madeWebhookSchema, "Added, with its secret.") },
  errors: [...WITH_BODY, "URL_NOT_ALLOWED"],
};

export const list: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks",
  summary: "List your webhooks",
  responses: { 200: jsonContent(webhookListSchema, "The oldest first.") },
};

export const read: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks/{id}",
  summary: "Read a webhook",
  request: { params: id },
  responses: { 200: jsonContent(webhookSchema, "The webhook.") },
  errors: ["NOT_FOUND"],
};

export const change: RouteSpec = {
  ...common,
  method: "patch",
  path: "/webhooks/{id}",
  summary: "Change, disable or enable a webhook",
  description: "What is under way to a webhook that is disabled is given up; it can be sent again from the log.",
  request: { params: id, body: body(changeWebhookSchema) },
  responses: { 200: jsonContent(webhookSchema, "As it is now.") },
  errors: [...WITH_BODY, "URL_NOT_ALLOWED", "NOT_FOUND"],
};

export const remove: RouteSpec = {
  ...common,
  method: "delete",
  path: "/webhooks/{id}",
  summary: "Delete a webhook",
  request: { params: id },
  responses: { 204: { description: "Deleted; what was under way to it is given up." } },
  errors: ["NOT_FOUND"],
};

export const readSecret: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks/{id}/secret",
  summary: "Read a webhook's secret",
  request: { params: id },
  responses: { 200: jsonContent(webhookSecretSchema, "The secret that signs.") },
  errors: ["NOT_FOUND"],
};

export const rotateSecret: RouteSpec = {
  ...common,
  method: "post",
  path: "/webhooks/{id}/secret/rotate",
  summary: "Rotate a webhook's secret",
  request: { params: id, body: body(rotateSecretSchema, false) },
  responses: { 200: jsonContent(webhookSecretSchema, "The new secret; the one before signs on for the overlap.") },
  errors: [...WITH_BODY, "NOT_FOUND"],
};

export const readDefaultSecret: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks/secret",
  summary: "Read the secret of `webhook_url`",
  description: "What a job's own `webhook_url` is signed with.",
  responses: { 200: jsonContent(webhookSecretSchema, "The secret that signs.") },
};

export const rotateDefaultSecret: RouteSpec = {
  ...common,
  method: "post",
  path: "/webhooks/secret/rotate",
  summary: "Rotate the secret of `webhook_url`",
  request: { body: body(rotateSecretSchema, false) },
  responses: { 200: jsonContent(webhookSecretSchema, "The new secret; the one before signs on for the overlap.") },
  errors: [...WITH_BODY, "NOT_FOUND"],
};

export const listDeliveries: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks/deliveries",
  summary: "List deliveries, newest first",
  description: "What is under way, what arrived, and with `status=given_up` the dead letters.",
  request: { query: deliveryQuerySchema },
  responses: { 200: jsonContent(deliveryListSchema, "One page.") },
};

export const readDelivery: RouteSpec = {
  ...common,
  method: "get",
  path: "/webhooks/deliveries/{id}",
  summary: "Read a delivery",
  request: { params: delivery },
  responses: { 200: jsonContent(deliverySchema, "With every try and the bytes sent.") },
  errors: ["NOT_FOUND"],
};

export const redeliver: RouteSpec = {
  ...common,
  method: "post",
  path: "/webhooks/deliveries/{id}/redeliver",
  summary: "Send a delivery again",
  description: "Now, with the same `webhook-id` and bytes; its schedule begins anew.",
  request: { params: delivery },
  responses: { 202: jsonContent(deliverySchema, "On its way.") },
  errors: ["NOT_FOUND", "CONFLICT"],
};

const account = z.object({ user_id: z.string().meta({ example: "u0123456789abcde" }) });

export const adminList: RouteSpec = {
  ...listDeliveries,
  policy: "admin",
  path: "/webhooks/deliveries",
  summary: "List an account's deliveries",
  description: "Of `user_id`; where they went to is shown as its origin alone.",
  request: { query: deliveryQuerySchema.extend(account.shape) },
  errors: ["NOT_FOUND"],
};

export const adminRedeliver: RouteSpec = {
  ...redeliver,
  policy: "admin",
  path: "/webhooks/deliveries/{user_id}/{id}/redeliver",
  summary: "Send a delivery of an account again",
  request: { params: account.extend(delivery.shape) },
};
