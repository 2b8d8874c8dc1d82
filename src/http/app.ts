/**
 * Owns the HTTP surface as one tree: what every request passes, and where each group of routes is mounted.
 * Invariant: every answer but an upgrade is CONTRACT's: known shape, request id, no exception text.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { Hono } from "hono";
import { causeOf, logLine } from "../platform/log.ts";
import type { AppEnv } from "./context.ts";
import { asDetail } from "./dialects/v1/detail.ts";
import { v1Routes } from "./dialects/v1/routes.ts";
import { exceptionRefusal, refusalResponse } from "./errors.ts";
import { countRequests } from "./middleware/count-requests.ts";
import { requestFrame } from "./middleware/request-frame.ts";
import { allowOrigins, requireHttps } from "./middleware/transport-rules.ts";
import { missingRoute } from "./missing-route.ts";
import { adminRoutes } from "./routes/admin.ts";
import { agentRoutes } from "./routes/agent.ts";
import { addDocsRoutes } from "./routes/docs.ts";
import { generateRoutes } from "./routes/generate.ts";
import { healthRoutes } from "./routes/health.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { againRoutes } from "./routes/jobs-again.ts";
import { bulkRoutes } from "./routes/jobs-bulk.ts";
import { keyRoutes } from "./routes/keys.ts";
import { livePageRoutes } from "./routes/live-page.ts";
import { modelRoutes } from "./routes/models.ts";
import { streamRoutes } from "./routes/streams.ts";
import { webhookRoutes } from "./routes/webhooks.ts";

export const app = new OpenAPIHono<AppEnv>();

app.use(requestFrame);
app.use(countRequests);
app.use("/v1/*", asDetail);
app.use(requireHttps);
app.use(allowOrigins);

app.onError((error, c) => {
  logLine("error", "exception", { request_id: c.get("request_id"), path: c.req.path, cause: causeOf(error) });
  return refusalResponse(c, exceptionRefusal(error));
});
app.notFound(missingRoute(app));

// Before the streams: the two share `/jobs/{id}/events`, and this one steps aside unless JSON is asked for.
app.route("/api/v1", jobRoutes);
app.route("/api/v1", bulkRoutes);
app.route("/api/v1", againRoutes);
app.route("/api/v1", generateRoutes);
app.route("/api/v1", modelRoutes);
app.route("/api/v1", keyRoutes);
app.route("/api/v1", webhookRoutes);
app.route("/v1", v1Routes);
app.route("/agent/v1", agentRoutes);
app.route("/admin", adminRoutes);
// The same once more under the API's own root; the document names each route once.
app.route("/api/v1/admin", new Hono<AppEnv>().route("/", adminRoutes));
app.route("/", healthRoutes);
app.route("/", modelRoutes);
app.route("/", streamRoutes);
app.route("/", livePageRoutes);
addDocsRoutes(app);
