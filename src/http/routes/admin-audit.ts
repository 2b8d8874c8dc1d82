/**
 * Owns the audit trail as operators read it.
 * Invariant: ids, verbs and times; what was done without the directory answering is there as soon as it does again.
 */
import { timeText } from "../../platform/job-view.ts";
import { queryBy } from "../admin-request.ts";
import { fromDirectory } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import * as docs from "./admin-documents.ts";

export const adminAuditRoutes = newRouteSet();

addRoute(adminAuditRoutes, docs.listAudit, async (c) => {
  const query = queryBy(c, docs.auditQuerySchema);
  if (!query.ok) return refusalResponse(c, query.refusal);
  const { limit, ...filter } = query.value;
  const found = await fromDirectory(c, (directory) => directory.listAudit(filter, limit));
  if (!found.ok) return refusalResponse(c, found.refusal);
  const entries = found.value.map((entry) => ({ ...entry, ts: timeText(entry.ts) }));
  return c.json({ entries, next_before: entries.length === limit ? (entries.at(-1)?.id ?? null) : null });
});
