/**
 * Owns the OpenAPI document, made of the routes as they are declared, and the explorer that shows it.
 * Invariant: the document is OpenAPI 3.1 and names every client route with its errors; neither holds a secret or needs a key,
 * and the explorer loads nothing from any other host.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import type { AppEnv } from "../context.ts";
import { addRoute } from "../documented-route.ts";
import { errorExamples } from "../error-examples.ts";
import { pageFile } from "../page-file.ts";
import { headerComponents } from "../route-headers.ts";
import { explorer } from "./health-documents.ts";

const ABOUT = `Submit ComfyUI jobs, follow them live, fetch what they made.

Send your key as \`Authorization: Bearer\` or \`X-API-Key\`. Every error has one shape; quote its \`request_id\`.`;

const EXPLORER_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Adds `/docs` and `/openapi.json` to the app, after every other route. */
export function addDocsRoutes(app: OpenAPIHono<AppEnv>): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "An API key, `ce_user_…`, `ce_service_…` or `ce_admin_…`; on `/agent/v1` an agent's token.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "apiKey",
    in: "header",
    name: "X-API-Key",
    description: "The same keys.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "ticket", {
    type: "apiKey",
    in: "query",
    name: "ticket",
    description: "For browsers, to watch one job: `POST /api/v1/jobs/{id}/ticket`.",
  });
  for (const [name, header] of headerComponents()) app.openAPIRegistry.registerComponent("headers", name, header);
  for (const [code, example] of errorExamples()) app.openAPIRegistry.registerComponent("examples", code, example);
  for (const doc of explorer) addRoute(app, doc, (c) => pageFile(c, doc.path, EXPLORER_POLICY));
  let text: string | null = null;
  addRoute(
    app,
    {
      policy: "open",
      method: "get",
      path: "/openapi.json",
      tags: ["documents"],
      summary: "This document",
      responses: { 200: { description: "OpenAPI 3.1", content: { "application/json": { schema: z.object({}) } } } },
    },
    (c) => {
      const { API_VERSION, PUBLIC_URL } = c.get("settings");
      text ??= JSON.stringify(
        app.getOpenAPI31Document({
          openapi: "3.1.0",
          info: { title: "Comfy Edge", version: API_VERSION, description: ABOUT, license: { name: "MIT" } },
          servers: [{ url: PUBLIC_URL }],
        }),
      );
      c.header("Cache-Control", "public, max-age=300");
      return c.body(text, 200, { "Content-Type": "application/json; charset=UTF-8" });
    },
  );
}
