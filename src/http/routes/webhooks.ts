/**
 * Owns the webhook routes of a client: endpoints, secrets, the delivery log.
 * Invariant: a URL is judged before it is kept, by the rules it is judged by again at every try; ids of others are 404.
 */
import type { Context } from "hono";
import type { DeliveryRow, SecretState } from "../../objects/contract.ts";
import { changeWebhookSchema, newWebhookSchema, rotateSecretSchema } from "../../protocol/api/webhooks.ts";
import type { Refusal } from "../../protocol/errors.ts";
import type { Result } from "../../protocol/result.ts";
import {
  type DeliveryId,
  deliveryIdSchema,
  type EndpointId,
  endpointIdSchema,
  type HookSigner,
} from "../../protocol/webhooks.ts";
import { bodyBy, optionalBodyBy, queryBy } from "../admin-request.ts";
import { callerAccount } from "../caller-account.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { withRate } from "../rate-headers.ts";
import { hookTarget } from "../webhook-target.ts";
import { deliveryQueryOf, deliveryQuerySchema, shownDelivery, shownSecret, shownWebhook } from "../webhook-views.ts";
import * as docs from "./webhooks-documents.ts";

export const webhookRoutes = newRouteSet();

addRoute(webhookRoutes, docs.create, async (c) => {
  const body = await bodyBy(c, newWebhookSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const url = hookTarget(c, body.value.url, "url");
  if (!url.ok) return refusalResponse(c, url.refusal);
  const made = await callerAccount(c).createEndpoint(c.get("caller").auth, { ...body.value, url: url.value });
  if (!made.ok) return refusalResponse(c, made.refusal);
  const { secret } = shownSecret(c.get("settings"), c.get("caller").account, made.value.secret);
  return c.json({ ...shownWebhook(made.value), secret }, 201);
});

addRoute(webhookRoutes, docs.list, async (c) => {
  const found = withRate(c, await callerAccount(c).listEndpoints(c.get("caller").auth));
  return found.ok ? c.json({ webhooks: found.value.map(shownWebhook) }) : refusalResponse(c, found.refusal);
});

// Before `/webhooks/{id}`: these are no ids.
addRoute(webhookRoutes, docs.readDefaultSecret, (c) => secretAnswer(c, "default"));
addRoute(webhookRoutes, docs.rotateDefaultSecret, (c) => rotatedAnswer(c, "default"));

addRoute(webhookRoutes, docs.listDeliveries, async (c) => {
  const query = queryBy(c, deliveryQuerySchema);
  if (!query.ok) return refusalResponse(c, query.refusal);
  const found = withRate(c, await callerAccount(c).listDeliveries(c.get("caller").auth, deliveryQueryOf(query.value)));
  if (!found.ok) return refusalResponse(c, found.refusal);
  const { deliveries, next_cursor } = found.value;
  return c.json({ deliveries: deliveries.map(shownDelivery), next_cursor });
});

addRoute(webhookRoutes, docs.readDelivery, async (c) => {
  const id = deliveryOf(c);
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const found = withRate(c, await callerAccount(c).getDelivery(c.get("caller").auth, id));
  return found.ok ? c.json(whole(found.value)) : refusalResponse(c, found.refusal);
});

addRoute(webhookRoutes, docs.redeliver, async (c) => {
  const id = deliveryOf(c);
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const sent = withRate(c, await callerAccount(c).redeliver(c.get("caller").auth, id));
  return sent.ok ? c.json(whole(sent.value), 202) : refusalResponse(c, sent.refusal);
});

addRoute(webhookRoutes, docs.read, async (c) => {
  const id = endpointOf(c);
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const found = withRate(c, await callerAccount(c).getEndpoint(c.get("caller").auth, id));
  return found.ok ? c.json(shownWebhook(found.value)) : refusalResponse(c, found.refusal);
});

addRoute(webhookRoutes, docs.change, async (c) => {
  const id = endpointOf(c);
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const body = await bodyBy(c, changeWebhookSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { url: named, ...rest } = body.value;
  const url = named === undefined ? null : hookTarget(c, named, "url");
  if (url?.ok === false) return refusalResponse(c, url.refusal);
  const change = defined({ ...rest, url: url?.value });
  const changed = await callerAccount(c).changeEndpoint(c.get("caller").auth, id, change);
  return changed.ok ? c.json(shownWebhook(changed.value)) : refusalResponse(c, changed.refusal);
});

addRoute(webhookRoutes, docs.remove, async (c) => {
  const id = endpointOf(c);
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const removed = await callerAccount(c).removeEndpoint(c.get("caller").auth, id);
  return removed.ok ? c.body(null, 204) : refusalResponse(c, removed.refusal);
});

addRoute(webhookRoutes, docs.readSecret, (c) => secretAnswer(c, endpointOf(c)));
addRoute(webhookRoutes, docs.rotateSecret, (c) => rotatedAnswer(c, endpointOf(c)));

async function secretAnswer(c: Context<AppEnv>, signer: HookSigner | null): Promise<Response> {
  if (signer === null) return refusalResponse(c, NOT_FOUND);
  return shown(c, withRate(c, await callerAccount(c).hookSecret(c.get("caller").auth, signer)));
}

async function rotatedAnswer(c: Context<AppEnv>, signer: HookSigner | null): Promise<Response> {
  if (signer === null) return refusalResponse(c, NOT_FOUND);
  const body = await optionalBodyBy(c, rotateSecretSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const overlapMs = body.value.overlap_seconds * 1000;
  return shown(c, await callerAccount(c).rotateHookSecret(c.get("caller").auth, signer, overlapMs));
}

function shown(c: Context<AppEnv>, state: Result<SecretState, Refusal>): Response {
  if (!state.ok) return refusalResponse(c, state.refusal);
  return c.json(shownSecret(c.get("settings"), c.get("caller").account, state.value));
}

function whole(row: DeliveryRow) {
  return { ...shownDelivery(row), body: row.body };
}

/** Null for what cannot be an id of ours: it is answered like an unknown one. */
function endpointOf(c: Context<AppEnv>): EndpointId | null {
  return endpointIdSchema.safeParse(c.req.param("id")).data ?? null;
}
function deliveryOf(c: Context<AppEnv>): DeliveryId | null {
  return deliveryIdSchema.safeParse(c.req.param("id")).data ?? null;
}

/** Without the members that are undefined: they would cross an RPC as such and blot out what is stored. */
function defined<T extends object>(change: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(change).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
