/**
 * Owns the words of webhooks: the events one may ask for, the ids, and what becomes of a delivery.
 * Invariant: a message's id names the job and what happened to it, the same on every try; it holds no dot.
 */
import { z } from "zod";
import type { JobId } from "./ids.ts";
import type { JobState } from "./states.ts";

export const HOOK_EVENTS = [
  "job.succeeded",
  "job.failed",
  "job.canceled",
  "job.expired",
  "job.started",
  "job.progress",
] as const;
export const hookEventSchema = z.enum(HOOK_EVENTS);
export type HookEvent = z.infer<typeof hookEventSchema>;

/** What an endpoint gets that names no events, and a job's own `webhook_url` always. */
export const TERMINAL_EVENTS: readonly HookEvent[] = ["job.succeeded", "job.failed", "job.canceled", "job.expired"];

export const endpointIdSchema = z
  .string()
  .regex(/^ep_[0-9a-z]{12}$/)
  .brand<"EndpointId">();
export type EndpointId = z.infer<typeof endpointIdSchema>;

/** Whose secret signs: an endpoint's, or the account's own for the `webhook_url` of a job. */
export type HookSigner = EndpointId | "default";

export const deliveryIdSchema = z
  .string()
  .regex(/^dl_[0-9a-f]{18}$/)
  .brand<"DeliveryId">();
/** `dl_` + 18 hex: 48 bits of milliseconds, then 24 random bits, so that ids sort by time. */
export type DeliveryId = z.infer<typeof deliveryIdSchema>;

/** `random24`: an integer of 24 bits. */
export function deliveryIdFrom(nowMs: number, random24: number): DeliveryId {
  const hex = nowMs.toString(16).padStart(12, "0") + random24.toString(16).padStart(6, "0");
  return deliveryIdSchema.parse(`dl_${hex}`);
}

/** The event a job's new state is; null for one that nobody is told of. */
export function eventOfState(state: JobState): HookEvent | null {
  if (state === "running") return "job.started";
  return state === "queued" || state === "canceling" ? null : `job.${state}`;
}

/** `msg_<job>_<revision>`; progress within one revision is told apart by its milliseconds, null for anything else. */
export function messageId(job: JobId, revision: number, progressAt: number | null): string {
  return `msg_${job}_${revision}${progressAt === null ? "" : `_${progressAt}`}`;
}

export const DELIVERY_STATES = ["pending", "delivered", "given_up"] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** How one try ended. `answered` with a status outside 2xx is a failure like the others. */
export const TRY_OUTCOMES = ["answered", "timeout", "unreachable", "target_refused"] as const;
export type TryOutcome = (typeof TRY_OUTCOMES)[number];

/** Why a delivery was given up. */
export const GIVEN_UP = [
  "tried_out",
  "gone",
  "target_refused",
  "endpoint_removed",
  "endpoint_disabled",
  "erased",
  "too_many",
] as const;
export type GivenUp = (typeof GIVEN_UP)[number];

/** A message of the `webhooks` queue: ids alone. What is sent where, the account says when it is asked. */
export const hookMessageSchema = z.object({ v: z.literal(1), account: z.string(), delivery: deliveryIdSchema });
