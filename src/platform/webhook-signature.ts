/**
 * Owns the secrets of webhooks and what they sign (Standard Webhooks 1.0).
 * Invariant: no secret is stored: each is derived from a MAC key, the account, whose it is and its number, and is the same
 * wherever it is derived. While KEY_MAC_SECRET names two keys both sign, so that changing it breaks no receiver.
 */
import { Webhook } from "standardwebhooks";
import { hmacSha256Of } from "./hash.ts";
import { macSecrets } from "./macs.ts";

export type SecretOwner = { readonly account: string; readonly signer: string; readonly version: number };
type Settings = { readonly KEY_MAC_SECRET: string };

/** `whsec_` and 32 bytes in base 64, as the owner is shown it: derived from the MAC key that signs. */
export function webhookSecret(settings: Settings, owner: SecretOwner): string {
  const [secret] = secretsOf(settings, owner);
  if (secret === undefined) throw new Error("configuration refused: KEY_MAC_SECRET holds no key");
  return secret;
}

/** The three headers of one try. `versions`: of the secrets that sign, so that a rotation has an overlap. */
export function signedHeaders(
  settings: Settings,
  order: { account: string; signer: string; versions: readonly number[]; message: string; body: string },
  nowMs: number,
): { [name: string]: string } {
  const at = new Date(nowMs);
  const { account, signer, message, body } = order;
  const signatures = order.versions
    .flatMap((version) => secretsOf(settings, { account, signer, version }))
    .map((secret) => new Webhook(secret).sign(message, at, body));
  return {
    "webhook-id": message,
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    "webhook-signature": signatures.join(" "),
  };
}

function secretsOf({ KEY_MAC_SECRET }: Settings, { account, signer, version }: SecretOwner): string[] {
  return macSecrets(KEY_MAC_SECRET).map(({ secret }) => {
    const bytes = hmacSha256Of(secret)(`webhook|${account}|${signer}|${version}`);
    return `whsec_${btoa(String.fromCharCode(...bytes))}`;
  });
}
