/**
 * Owns webhooks as they are shown, and what may be asked of the delivery log.
 * Invariant: a secret is derived for the answer that shows it and kept nowhere.
 */
import { z } from "zod";
import type { DeliveryQuery, DeliveryRow, Endpoint, SecretState } from "../objects/contract.ts";
import type { Settings } from "../platform/env.ts";
import { timeText, timeTextOrNull } from "../platform/job-view.ts";
import { webhookSecret } from "../platform/webhook-signature.ts";
import type { DeliveryListItem, WebhookSecretView, WebhookView } from "../protocol/api/webhooks.ts";
import { type AccountId, jobIdSchema } from "../protocol/ids.ts";
import { DELIVERY_STATES, deliveryIdSchema, endpointIdSchema } from "../protocol/webhooks.ts";

export const deliveryQuerySchema = z.object({
  status: z.enum(DELIVERY_STATES).optional().meta({ description: "`given_up`: the dead letters." }),
  webhook: endpointIdSchema.optional(),
  job: jobIdSchema.optional(),
  limit: z
    .string()
    .regex(/^\d{1,3}$/)
    .transform(Number)
    .pipe(z.number().min(1).max(200))
    .default(20)
    .meta({ type: "integer" }),
  cursor: deliveryIdSchema.optional().meta({ description: "`next_cursor` of the page before." }),
});

export function deliveryQueryOf(query: z.output<typeof deliveryQuerySchema>): DeliveryQuery {
  const { status, webhook, job, cursor, limit } = query;
  return { state: status ?? null, endpoint: webhook ?? null, job: job ?? null, cursor: cursor ?? null, limit };
}

export function shownWebhook(one: Endpoint): WebhookView {
  const { endpoint, url, description, events, enabled, disabled_reason, failing_since, created_at } = one;
  return {
    id: endpoint,
    url,
    description,
    events,
    enabled,
    disabled_reason,
    failing_since: timeTextOrNull(failing_since),
    created_at: timeText(created_at),
  };
}

export function shownSecret(settings: Settings, account: AccountId, state: SecretState): WebhookSecretView {
  const { signer, version, previous_until_ms } = state;
  const secret = webhookSecret(settings, { account, signer, version });
  return { secret, version, previous_expires_at: timeTextOrNull(previous_until_ms) };
}

/** `body` is left to the caller: lists do not show it. */
export function shownDelivery(row: DeliveryRow): DeliveryListItem {
  const { delivery, message, endpoint, event, job, url, state, reason, tries } = row;
  return {
    id: delivery,
    message_id: message,
    webhook: endpoint,
    event,
    job_id: job,
    url,
    status: state,
    reason,
    tries,
    next_try_at: timeTextOrNull(row.next_try_at),
    attempts: row.log.map(({ ts, ...tried }) => ({ ts: timeText(ts), ...tried })),
    created_at: timeText(row.created_at),
    ended_at: timeTextOrNull(row.ended_at),
    expires_at: timeText(row.expires_at),
  };
}
