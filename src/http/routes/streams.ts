/**
 * Owns the streams routes.
 * Invariant: mounted by `http/app`, which frames every request.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { AppEnv } from "../context.ts";

export const streamRoutes = new OpenAPIHono<AppEnv>();
