/**
 * Holds the secrets and signatures of webhooks to Standard Webhooks 1.0, as its own library verifies them.
 */
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { signedHeaders, webhookSecret } from "../../../src/platform/webhook-signature.ts";

const OLD = { KEY_MAC_SECRET: "a:0123456789abcdef0123" };
const BOTH = { KEY_MAC_SECRET: "b:fedcba98765432100000,a:0123456789abcdef0123" };
const NEW = { KEY_MAC_SECRET: "b:fedcba98765432100000" };
const owner = { account: "u0123456789abcde", signer: "ep_0123456789ab", version: 1 };
const body = '{"type":"job.succeeded","seed":18446744073709551615}';

const headersBy = (settings: { KEY_MAC_SECRET: string }, versions = [1]) =>
  signedHeaders(settings, { ...owner, versions, message: "msg_j_0123456789ab_3", body }, Date.now());
const verifies = (secret: string, headers: { [name: string]: string }, text = body) => {
  try {
    new Webhook(secret).verify(text, headers);
    return true;
  } catch {
    return false;
  }
};

describe("a webhook's signature", () => {
  it("verifies with the library: the secret has 32 bytes, the id no dot, and another body, id or time does not pass", () => {
    const secret = webhookSecret(OLD, owner);
    expect(Buffer.from(secret.slice("whsec_".length), "base64")).toHaveLength(32);
    const headers = headersBy(OLD);
    expect(headers["webhook-id"]).not.toContain(".");
    expect(verifies(secret, headers)).toBe(true);
    expect(verifies(secret, headers, `${body} `)).toBe(false);
    expect(verifies(secret, { ...headers, "webhook-id": "msg_j_0123456789ab_4" })).toBe(false);
    const late = String(Number(headers["webhook-timestamp"]) - 1);
    expect(verifies(secret, { ...headers, "webhook-timestamp": late })).toBe(false);
  });

  it("is by another secret for every account, endpoint and rotation", () => {
    const others = [
      owner,
      { ...owner, account: "u0123456789abcdf" },
      { ...owner, signer: "default" },
      { ...owner, version: 2 },
    ].map((one) => webhookSecret(OLD, one));
    expect(new Set(others).size).toBe(4);
    expect(verifies(webhookSecret(OLD, { ...owner, version: 2 }), headersBy(OLD, [2, 1]))).toBe(true);
    expect(verifies(webhookSecret(OLD, owner), headersBy(OLD, [2, 1]))).toBe(true);
    expect(verifies(webhookSecret(OLD, owner), headersBy(OLD, [2]))).toBe(false);
  });

  it("is by both MAC keys while one replaces the other, so that a receiver's secret stays good until the old key goes (F93)", () => {
    const [before, after] = [webhookSecret(OLD, owner), webhookSecret(NEW, owner)];
    expect(webhookSecret(BOTH, owner)).toBe(after);
    expect([verifies(before, headersBy(BOTH)), verifies(after, headersBy(BOTH))]).toEqual([true, true]);
    expect([verifies(before, headersBy(NEW)), verifies(after, headersBy(NEW))]).toEqual([false, true]);
  });
});
