/**
 * Owns what the OpenAPI document says of the stream routes.
 * Invariant: every status a route can answer is here.
 */
import { z } from "@hono/zod-openapi";
import { TICKET_EXAMPLE } from "../../protocol/api/examples.ts";
import { jobEventsSchema } from "../../protocol/api/views.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const tags = ["progress"];
const id = z.object({ id: z.string().meta({ example: "j_68f6a1b2c3d4" }) });
const watch = z.object({
  ticket: z.string().optional().meta({ description: "Instead of a key, for browsers." }),
  last_seq: z.string().optional().meta({ description: "The last `seq` seen: numbers go on above it." }),
});

/** The same path as one document: `routes/jobs` answers it, and an OpenAPI document has one entry for both. */
const asJson = {
  format: z.enum(["json"]).optional(),
  after: z.string().optional().meta({ description: "With `format=json`: a revision, only what came after it." }),
};

export const ticketSchema = z
  .object({ ticket: z.string(), expires_at: z.string() })
  .meta({ id: "Ticket", example: TICKET_EXAMPLE });

const socket = {
  policy: "watcher",
  method: "get",
  tags,
  summary: "Watch a job over a WebSocket",
  description:
    "Frames `status`, `progress`, `log`, `artifact`, `done`; the first is a snapshot. Subprotocol `comfy-edge.v1`; a ticket " +
    "may be offered beside it as `ticket.<t>`. Send the text `ping` when it opens and at least every 30 s; it is answered `pong`. An unknown " +
    "job is closed with 1008.",
  request: { params: id, query: watch.extend({ previews: z.enum(["0", "1"]).optional() }) },
  responses: { 101: { description: "The socket." } },
  errors: ["UPGRADE_REQUIRED"],
} satisfies Omit<RouteSpec, "path">;

export const socketRoutes: RouteSpec[] = [
  { ...socket, path: "/ws/jobs/{id}" },
  { ...socket, path: "/api/v1/jobs/{id}/ws" },
];

export const events: RouteSpec = {
  policy: "watcher",
  method: "get",
  path: "/api/v1/jobs/{id}/events",
  tags,
  summary: "Watch a job as server-sent events",
  description:
    "The frames of the WebSocket, `id` their `seq`. With `?format=json` the transitions so far, as one document.",
  request: { params: id, query: watch.extend(asJson), headers: z.object({ "Last-Event-ID": z.string().optional() }) },
  responses: {
    200: {
      description: "The stream, or the document.",
      content: { "text/event-stream": { schema: z.string() }, "application/json": { schema: jobEventsSchema } },
    },
  },
  errors: ["NOT_FOUND", "FEATURE_DISABLED"],
};

export const ticket: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/api/v1/jobs/{id}/ticket",
  tags,
  summary: "Make a ticket for a browser",
  description:
    "Good for 60 s and one WebSocket, or one event stream that may come back with `Last-Event-ID` for an hour.",
  request: { params: id },
  responses: { 201: jsonContent(ticketSchema, "The ticket.") },
  errors: ["NOT_FOUND"],
};
