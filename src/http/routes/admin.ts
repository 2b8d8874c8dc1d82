/**
 * Owns the admin routes: the first key, then users, keys, agents and pools, behind an admin key.
 * Invariant: the object decides first, the directory is told afterwards; a directory that is down never undoes or delays a decision.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { AppEnv } from "../context.ts";
import { POLICIES } from "../middleware/policies.ts";
import { adminAgentRoutes } from "./admin-agents.ts";
import { adminBootstrapRoutes } from "./admin-bootstrap.ts";
import { adminKeyRoutes } from "./admin-keys.ts";
import { adminUserRoutes } from "./admin-users.ts";

export const adminRoutes = new OpenAPIHono<AppEnv>();

adminRoutes.route("/bootstrap", adminBootstrapRoutes);
adminRoutes.use(async (c, next) => {
  const refused = await POLICIES.admin.check(c);
  if (refused) return refused;
  return next();
});
adminRoutes.route("/users", adminUserRoutes);
adminRoutes.route("/api-keys", adminKeyRoutes);
adminRoutes.route("/", adminAgentRoutes);
