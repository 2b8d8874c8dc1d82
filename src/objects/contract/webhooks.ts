/**
 * Owns what may be asked of an account about webhooks: by its owner, by an operator, and by the consumer that delivers.
 * Invariant: no secret crosses; the Worker derives it from the number told here. Expected refusals are values.
 */
import type { Refusal } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import type {
  DeliveryId,
  DeliveryState,
  EndpointId,
  GivenUp,
  HookEvent,
  HookSigner,
  TryOutcome,
} from "../../protocol/webhooks.ts";
import type { Auth } from "./auth.ts";
import type { Metered } from "./clients.ts";

/** `previous_until_ms`: the secret before it signs beside the present one until then. */
export type SecretState = { signer: HookSigner; version: number; previous_until_ms: number | null };

export type EndpointSpec = { url: string; description: string; events: HookEvent[] };
/** What is left out stays. */
export type EndpointChange = Partial<EndpointSpec> & { enabled?: boolean };
export type Endpoint = EndpointSpec & {
  endpoint: EndpointId;
  enabled: boolean;
  disabled_reason: "owner" | "gone" | "failing" | null;
  failing_since: number | null;
  created_at: number;
  secret: SecretState;
};

export type DeliveryTry = { ts: number; outcome: TryOutcome; status: number | null; duration_ms: number };
export type DeliveryRow = {
  delivery: DeliveryId;
  message: string;
  event: HookEvent;
  job: JobId;
  endpoint: EndpointId | null;
  url: string;
  state: DeliveryState;
  reason: GivenUp | null;
  tries: number;
  next_try_at: number | null;
  log: DeliveryTry[];
  created_at: number;
  ended_at: number | null;
  expires_at: number;
  /** Null once it was erased, and in lists. */
  body: string | null;
};
export type DeliveryQuery = {
  state: DeliveryState | null;
  endpoint: EndpointId | null;
  job: JobId | null;
  cursor: DeliveryId | null;
  limit: number;
};
export type DeliveryPage = { deliveries: DeliveryRow[]; next_cursor: DeliveryId | null };

/** One try to be made now. `versions`: of the secrets that sign, the present one first. */
export type DeliveryOrder = {
  message: string;
  url: string;
  body: string;
  tries: number;
  signer: HookSigner;
  versions: number[];
};
export type DeliveryReport = {
  /** As the order said: a late report of an earlier try changes nothing unless it succeeded. */
  tries: number;
  outcome: TryOutcome;
  status: number | null;
  retry_after_ms: number | null;
  duration_ms: number;
};

export interface WebhookRpc {
  /** VALIDATION_ERROR over 100 endpoints. */
  createEndpoint(auth: Auth, spec: EndpointSpec): Promise<Result<Endpoint, Refusal>>;
  listEndpoints(auth: Auth): Promise<Metered<Endpoint[]>>;
  getEndpoint(auth: Auth, endpoint: EndpointId): Promise<Metered<Endpoint>>;
  changeEndpoint(auth: Auth, endpoint: EndpointId, change: EndpointChange): Promise<Result<Endpoint, Refusal>>;
  /** What is under way to it is given up. */
  removeEndpoint(auth: Auth, endpoint: EndpointId): Promise<Result<null, Refusal>>;
  hookSecret(auth: Auth, signer: HookSigner): Promise<Metered<SecretState>>;
  /** The secret before it goes on signing for `overlapMs`. */
  rotateHookSecret(auth: Auth, signer: HookSigner, overlapMs: number): Promise<Result<SecretState, Refusal>>;
  listDeliveries(auth: Auth, query: DeliveryQuery): Promise<Metered<DeliveryPage>>;
  getDelivery(auth: Auth, delivery: DeliveryId): Promise<Metered<DeliveryRow>>;
  /** Tries it now, with the same id and bytes, and begins its schedule anew. CONFLICT where the bytes were erased. */
  redeliver(auth: Auth, delivery: DeliveryId): Promise<Metered<DeliveryRow>>;

  /** What the consumer is to send; null: nothing, this message is no longer needed. */
  beginDelivery(delivery: DeliveryId): Promise<DeliveryOrder | null>;
  endDelivery(delivery: DeliveryId, report: DeliveryReport): Promise<void>;
}
