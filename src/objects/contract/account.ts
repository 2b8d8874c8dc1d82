/**
 * Owns the whole of what one may ask of an AccountObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { ClientRpc } from "./clients.ts";
import type { CredentialRpc } from "./credentials.ts";
import type { LeaseRpc } from "./leases.ts";
import type { RetentionRpc } from "./retention.ts";
import type { WebhookRpc } from "./webhooks.ts";

export interface AccountRpc extends ClientRpc, LeaseRpc, CredentialRpc, WebhookRpc, RetentionRpc {}
