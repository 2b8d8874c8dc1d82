/**
 * Owns what an operator sees of an account's webhooks: its deliveries, and sending one again.
 * Invariant: of a target only its origin is shown, and never what was sent: URLs and bodies are the account's own.
 */
import type { DeliveryRow } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { accountIdSchema } from "../../protocol/ids.ts";
import { deliveryIdSchema } from "../../protocol/webhooks.ts";
import { queryBy } from "../admin-request.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { deliveryQueryOf, deliveryQuerySchema, shownDelivery } from "../webhook-views.ts";
import * as docs from "./webhooks-documents.ts";

export const adminWebhookRoutes = newRouteSet();

const querySchema = deliveryQuerySchema.extend({ user_id: accountIdSchema });

addRoute(adminWebhookRoutes, docs.adminList, async (c) => {
  const query = queryBy(c, querySchema);
  if (!query.ok) return refusalResponse(c, query.refusal);
  const auth = { by: "internal" as const, keyid: c.get("caller").keyid };
  const found = await accountOf(c.env, query.value.user_id).listDeliveries(auth, deliveryQueryOf(query.value));
  if (!found.ok) return refusalResponse(c, found.refusal);
  return c.json({ deliveries: found.value.deliveries.map(shown), next_cursor: found.value.next_cursor });
});

addRoute(adminWebhookRoutes, docs.adminRedeliver, async (c) => {
  const account = accountIdSchema.safeParse(c.req.param("user_id"));
  const id = deliveryIdSchema.safeParse(c.req.param("id"));
  if (!account.success || !id.success) return refusalResponse(c, NOT_FOUND);
  const auth = { by: "internal" as const, keyid: c.get("caller").keyid };
  const sent = await accountOf(c.env, account.data).redeliver(auth, id.data);
  return sent.ok ? c.json({ ...shown(sent.value), body: null }, 202) : refusalResponse(c, sent.refusal);
});

function shown(row: DeliveryRow) {
  return shownDelivery({ ...row, url: new URL(row.url).origin });
}
