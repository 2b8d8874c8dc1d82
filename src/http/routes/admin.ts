/**
 * Owns the admin routes as one set: the first key, then users, keys, agents, pools and the audit trail, behind an admin key.
 * Invariant: the object decides first, the directory is told afterwards; a directory that is down never undoes or delays a decision.
 */
import { newRouteSet } from "../documented-route.ts";
import { adminAgentRoutes } from "./admin-agents.ts";
import { adminAuditRoutes } from "./admin-audit.ts";
import { adminBootstrapRoutes } from "./admin-bootstrap.ts";
import { adminHoldRoutes } from "./admin-holds.ts";
import { adminKeyRoutes } from "./admin-keys.ts";
import { adminOpsRoutes } from "./admin-ops.ts";
import { adminSetupRoutes } from "./admin-ops-setup.ts";
import { adminStaleRoutes } from "./admin-ops-stale.ts";
import { adminUserRoutes } from "./admin-users.ts";
import { adminWebhookRoutes } from "./admin-webhooks.ts";

export const adminRoutes = newRouteSet();

const sets = [
  adminBootstrapRoutes,
  adminUserRoutes,
  adminKeyRoutes,
  adminAgentRoutes,
  adminHoldRoutes,
  adminAuditRoutes,
  adminWebhookRoutes,
  adminOpsRoutes,
  adminStaleRoutes,
  adminSetupRoutes,
];
for (const routes of sets) adminRoutes.route("/", routes);
