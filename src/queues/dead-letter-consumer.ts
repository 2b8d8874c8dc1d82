/**
 * Owns what happens to a doorbell that no agent took: its account is told, and rings again by its own schedule.
 * Invariant: a dead letter is only reported, never a verdict on a job; an account that cannot be reached is told later.
 */
import { accountOf } from "../objects/locate.ts";
import { type Env, settingsOf } from "../platform/env.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { macsOf } from "../platform/macs.ts";
import { count } from "../platform/metrics.ts";
import { doorbellSchema } from "../protocol/agent-api.ts";
import type { RefFields } from "../protocol/ids.ts";
import { messageJson } from "./message-json.ts";

const FIRST_RETRY_S = 5;
const MAX_RETRY_S = 300;

/** Acknowledges what was reported or can never be; retries, 5 s doubling to 5 min, what its account could not take. */
export async function reportDeadDoorbell(message: Message<unknown>, env: Env): Promise<void> {
  const ref = refOf(message.body, env);
  if (ref === null) {
    logLine("warn", "doorbell_malformed", { message: message.id });
    settled(message, "malformed");
    return;
  }
  try {
    await accountOf(env, ref.account).doorbellDied(ref.job, ref.attempt);
    logLine("info", "doorbell_died", { account: ref.account, job: ref.job, attempt: ref.attempt, pool: ref.pool });
    settled(message, "reported");
  } catch (error) {
    logLine("error", "doorbell_report_failed", { job: ref.job, attempts: message.attempts, cause: causeOf(error) });
    count("comfy_edge_doorbells_dead_total", { outcome: "retried" });
    message.retry({ delaySeconds: Math.min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** (message.attempts - 1)) });
  }
}

function settled(message: Message<unknown>, outcome: "reported" | "malformed"): void {
  count("comfy_edge_doorbells_dead_total", { outcome });
  message.ack();
}

/** The ref of a doorbell (a text that holds JSON) when its MAC holds; null for anything else. */
function refOf(body: unknown, env: Env): RefFields | null {
  const doorbell = doorbellSchema.safeParse(messageJson(body));
  return doorbell.success ? macsOf(settingsOf(env)).verifyRef(doorbell.data.ref) : null;
}
