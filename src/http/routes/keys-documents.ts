/**
 * Owns what the OpenAPI document says of a user's own keys.
 * Invariant: every status a route can answer is here.
 */
import { z } from "@hono/zod-openapi";
import {
  keyListSchema,
  keyViewSchema,
  madeKeySchema,
  newOwnKeySchema,
  rotatedKeySchema,
  rotateKeySchema,
} from "../../protocol/api/keys.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const common = { policy: "owner" as const, tags: ["account"] };
const key = z.object({ keyid: z.string().meta({ example: "7k2m9x4q" }) });

export const list: RouteSpec = {
  ...common,
  method: "get",
  path: "/keys",
  summary: "List your keys",
  description: "Those of the kind of the key you ask with, newest first, ended ones included.",
  responses: { 200: jsonContent(keyListSchema, "Your keys.") },
};

export const create: RouteSpec = {
  ...common,
  method: "post",
  path: "/keys",
  summary: "Make another key",
  description: "Of the kind of the key you ask with.",
  request: { body: { required: true, content: { "application/json": { schema: newOwnKeySchema } } } },
  responses: { 201: jsonContent(madeKeySchema, "Made.") },
  errors: ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA", "CONFLICT"],
};

export const revoke: RouteSpec = {
  ...common,
  method: "delete",
  path: "/keys/{keyid}",
  summary: "Revoke a key of yours",
  description: "Also the one you ask with.",
  request: { params: key },
  responses: { 200: jsonContent(keyViewSchema, "Revoked; safe to repeat.") },
  errors: ["NOT_FOUND"],
};

export const rotate: RouteSpec = {
  ...common,
  method: "post",
  path: "/keys/{keyid}/rotate",
  summary: "Replace a key of yours",
  description: "The new one has its name and length of life. The old one works on for the overlap.",
  request: { params: key, body: { required: false, content: { "application/json": { schema: rotateKeySchema } } } },
  responses: { 201: jsonContent(rotatedKeySchema, "Made.") },
  errors: ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA", "NOT_FOUND", "CONFLICT"],
};
