/**
 * Owns the MACs on keys, leases, refs, tickets and enrolment codes: HMAC-SHA-256 cut to 128 bits, one domain each.
 * Invariant: a text is trusted only after its MAC held under a current MAC key; a MAC of one domain never holds in another.
 *
 * `KEY_MAC_SECRET` may name two keys, so that one can be rotated: the first signs, both verify.
 */
import { type CodeFields, codeBody, parseCode } from "../protocol/agent-self.ts";
import {
  base32,
  type KeyFields,
  keyBody,
  type LeaseFields,
  leaseBody,
  parseKey,
  parseLease,
  parseRef,
  parseTicket,
  type RefFields,
  refBody,
  type TicketFields,
  ticketBody,
  type Unchecked,
} from "../protocol/ids.ts";
import { equalInConstantTime, hmacSha256Of } from "./hash.ts";

type Domain = "key" | "lease" | "ref" | "ticket" | "code";
type MacKey = { name: string; hmac: (text: string) => Uint8Array };

export type Macs = {
  signKey(fields: KeyFields): string;
  verifyKey(text: string): KeyFields | null;
  signLease(fields: LeaseFields): string;
  verifyLease(text: string): LeaseFields | null;
  signRef(fields: RefFields): string;
  verifyRef(text: string): RefFields | null;
  signTicket(fields: TicketFields): string;
  verifyTicket(text: string): TicketFields | null;
  signCode(fields: CodeFields): string;
  verifyCode(text: string): CodeFields | null;
  /** 52 characters that follow from the secret texts given and from nothing else: the same asking gets the same token. */
  secretFrom(code: string, enrol_id: string): string;
};

/** 16 bytes -> 26 characters of base 32. */
const MAC_BYTES = 16;
/** Keys whose MAC held, remembered per isolate: the same few come with nearly every request. */
const REMEMBERED_KEYS = 1_000;

/** The keys that `KEY_MAC_SECRET` names, the one that signs first. */
export function macSecrets(keyMacSecret: string): { name: string; secret: string }[] {
  return keyMacSecret.split(",").map((pair) => ({ name: pair.slice(0, 1), secret: pair.slice(2) }));
}

export function macsFrom(keyMacSecret: string): Macs {
  const keys: MacKey[] = macSecrets(keyMacSecret).map(({ name, secret }) => ({ name, hmac: hmacSha256Of(secret) }));
  const [signing] = keys;
  if (!signing) throw new Error("configuration refused: KEY_MAC_SECRET holds no key");

  const macOf = (key: MacKey, domain: Domain, body: string) =>
    key.name + base32(key.hmac(`${domain}|${body}`).subarray(0, MAC_BYTES));
  const sign = (domain: Domain, body: string) => `${body}_${macOf(signing, domain, body)}`;
  const verify = <F>(domain: Domain, parsed: Unchecked<F> | null): F | null => {
    const key = parsed && keys.find((k) => k.name === parsed.mac.charAt(0));
    if (!parsed || !key) return null;
    return equalInConstantTime(macOf(key, domain, parsed.body), parsed.mac) ? parsed.fields : null;
  };

  const verifyKey = remembering((text) => verify("key", parseKey(text)));

  return {
    signKey: (fields) => sign("key", keyBody(fields)),
    verifyKey,
    signLease: (fields) => sign("lease", leaseBody(fields)),
    verifyLease: (text) => verify("lease", parseLease(text)),
    signRef: (fields) => sign("ref", refBody(fields)),
    verifyRef: (text) => verify("ref", parseRef(text)),
    signTicket: (fields) => sign("ticket", ticketBody(fields)),
    verifyTicket: (text) => verify("ticket", parseTicket(text)),
    signCode: (fields) => sign("code", codeBody(fields)),
    verifyCode: (text) => verify("code", parseCode(text)),
    secretFrom: (code, enrol_id) => base32(signing.hmac(`enrol|${code}|${enrol_id}`)),
  };
}

/** Whether a MAC holds never changes, so a yes may be remembered; a no is not, or strangers would fill the memory. */
function remembering(verify: (text: string) => KeyFields | null): (text: string) => KeyFields | null {
  const held = new Map<string, KeyFields>();
  return (text) => {
    const known = held.get(text);
    if (known !== undefined) return known;
    const fields = verify(text);
    if (fields === null) return null;
    if (held.size >= REMEMBERED_KEYS) held.clear();
    held.set(text, fields);
    return fields;
  };
}

const made = new WeakMap<object, Macs>();

/** The MACs of an isolate's settings, made once. */
export function macsOf(settings: { KEY_MAC_SECRET: string }): Macs {
  const known = made.get(settings);
  if (known) return known;
  const macs = macsFrom(settings.KEY_MAC_SECRET);
  made.set(settings, macs);
  return macs;
}
