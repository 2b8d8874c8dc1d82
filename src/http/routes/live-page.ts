/**
 * Owns the page that shows one job live, at `/demo/<job>`: our own files, and what they may load.
 * Invariant: the page holds no secret and needs no key; it runs no script but ours, and loads nothing but from this host and,
 * for results, the bucket.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet, type RouteSpec } from "../documented-route.ts";
import { pageFile } from "../page-file.ts";

export const livePageRoutes = newRouteSet();

/** In the folder of `[assets]`; `/demo` is `demo.html`. */
const PAGE = "/demo";

const served = (path: string, type: string, summary: string): RouteSpec => ({
  policy: "open",
  method: "get",
  path,
  tags: ["documents"],
  summary,
  responses: { 200: { description: "A file of the live page.", content: { [type]: { schema: z.string() } } } },
});
const ofJob: RouteSpec = {
  ...served(`${PAGE}/{id}`, "text/html", "Watch a job in a browser"),
  description:
    "Asks for a key, or takes it from the fragment: `#key=…`, or `#ticket=…`. Neither is sent as part of an address.",
  request: { params: z.object({ id: z.string().meta({ example: "j_68f6a1b2c3d4" }) }) },
};
const files: readonly RouteSpec[] = [
  served(PAGE, "text/html", "Watch a job in a browser"),
  served("/demo.css", "text/css", "Style of the live page"),
  served("/demo.svg", "image/svg+xml", "Icon of the live page"),
  served("/demo.js", "text/javascript", "Script of the live page"),
  served("/demo-view.js", "text/javascript", "Script of the live page: what is shown"),
  served("/demo-watch.js", "text/javascript", "Script of the live page: the watch"),
];

for (const doc of files) addRoute(livePageRoutes, doc, (c) => pageFile(c, doc.path, contentPolicy(c)));
// The id is read by the page itself: whatever stands there, the file is the same.
addRoute(livePageRoutes, ofJob, (c) => pageFile(c, PAGE, contentPolicy(c)));

/** `'self'` names no WebSocket for every browser: it is listed. Results lie on the bucket's host. */
function contentPolicy(c: Context<AppEnv>): string {
  const { host, protocol } = new URL(c.req.url);
  const socket = `${protocol === "https:" ? "wss" : "ws"}://${host}`;
  const bucket = new URL(c.get("settings").R2_ENDPOINT).origin;
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `img-src 'self' blob: ${bucket}`,
    `media-src 'self' ${bucket}`,
    `connect-src 'self' ${socket}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
