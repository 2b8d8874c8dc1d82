/**
 * Owns one try of a webhook: asks the account what to send, judges the target anew, signs, POSTs, reports.
 * Invariant: a message is acknowledged before its try begins: the account hands a delivery over again until its end was
 * reported, so nothing hangs on the queue, and a slow target holds up no message behind it.
 */
import { retryAfterMs } from "../domain/hook-schedule.ts";
import { checkTarget, hookRules } from "../domain/outbound-target.ts";
import type { DeliveryOrder, DeliveryReport } from "../objects/contract.ts";
import { accountOf } from "../objects/locate.ts";
import { type Env, type Settings, settingsOf } from "../platform/env.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { postJson } from "../platform/outbound-fetch.ts";
import { signedHeaders } from "../platform/webhook-signature.ts";
import { type AccountId, accountIdSchema } from "../protocol/ids.ts";
import { type DeliveryId, hookMessageSchema } from "../protocol/webhooks.ts";
import { messageJson } from "./message-json.ts";

/** False when the message is none of ours: the caller says so. */
export function takeWebhook(
  message: Message<unknown>,
  env: Env,
  background: (work: Promise<unknown>) => void,
): boolean {
  const parsed = hookMessageSchema.safeParse(messageJson(message.body));
  const account = accountIdSchema.safeParse(parsed.data?.account);
  if (!parsed.success || !account.success) return false;
  message.ack();
  background(deliver(env, account.data, parsed.data.delivery));
  return true;
}

/** One try. What fails on our side is only logged: the account finds the delivery still due. */
async function deliver(env: Env, account: AccountId, delivery: DeliveryId): Promise<void> {
  try {
    const settings = settingsOf(env);
    const order = await accountOf(env, account).beginDelivery(delivery);
    if (order === null) return;
    const report = await attempt(settings, account, order);
    await accountOf(env, account).endDelivery(delivery, report);
    const { outcome, status, duration_ms } = report;
    logLine("info", "webhook_tried", { account, delivery, tries: order.tries + 1, outcome, status, duration_ms });
  } catch (error) {
    logLine("error", "webhook_failed", { account, delivery, cause: causeOf(error) });
  }
}

async function attempt(settings: Settings, account: AccountId, order: DeliveryOrder): Promise<DeliveryReport> {
  const { tries } = order;
  const startedMs = Date.now();
  const own = [settings.PUBLIC_URL, settings.R2_ENDPOINT];
  const target = checkTarget(order.url, hookRules(own, settings.DEV_TARGETS));
  if (!target.ok) return { tries, outcome: "target_refused", status: null, retry_after_ms: null, duration_ms: 0 };
  const headers = signedHeaders(settings, { ...order, account }, startedMs);
  const answer = await postJson(target.value, headers, order.body, settings.WEBHOOK_TIMEOUT_MS);
  const endedMs = Date.now();
  return {
    tries,
    outcome: answer.outcome,
    status: answer.status,
    retry_after_ms: retryAfterMs(answer.retry_after, endedMs),
    duration_ms: endedMs - startedMs,
  };
}
