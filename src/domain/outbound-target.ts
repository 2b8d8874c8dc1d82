/**
 * Owns which URLs named by a user may be called: the same rules when a URL is accepted and each time it is dialled.
 * Invariant: judged after normalisation, on the host the platform would dial; what is not plainly public is refused.
 *
 * A name that resolves to a private address cannot be told here: the platform's egress is the barrier (docs/webhooks.md).
 */
import ipaddr from "ipaddr.js";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";

export type TargetRules = {
  readonly schemes: readonly ("https" | "http")[];
  /** Whether a globally routable address may stand in place of a name. */
  readonly addresses: boolean;
  /** Hosts that are ourselves (`host` or `host:port`): a call to them would be a loop. */
  readonly own_hosts: readonly string[];
  /** Origins allowed against every other rule; `http://127.0.0.1:*` means any port. Empty outside development. */
  readonly dev_targets: readonly string[];
};

/** Why not. Safe to show: it says nothing that the URL itself does not say. */
export type TargetProblem = "malformed" | "scheme" | "credentials" | "port" | "host" | "address" | "own_host";

const MAX_URL = 2_048;
const MAX_HOST = 253;
const MAX_LABEL = 63;

/** Names that mean this machine or this network wherever they are looked up. */
const LOCAL_SUFFIXES = [
  "localhost",
  "local",
  "localdomain",
  "internal",
  "intranet",
  "lan",
  "home",
  "corp",
  "home.arpa",
];
/** Addresses that are public by number and yet lead to a platform's own services. */
const PLATFORM_ADDRESSES = new Set(["168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.170.2"]);

const MESSAGES: { readonly [P in TargetProblem]: string } = {
  malformed: "This is not an absolute URL of at most 2048 characters.",
  scheme: "The URL's scheme is not allowed here.",
  credentials: "A URL must not carry a user name or password.",
  port: "The URL must use its scheme's own port.",
  host: "The URL's host is not a public name.",
  address: "The URL's host is an address that may not be called.",
  own_host: "The URL leads back to this service.",
};

/** The rules for webhooks: public https names, never our own. `own_urls`: where this service and its bucket are reached. */
export function hookRules(own_urls: readonly string[], dev_targets: readonly string[]): TargetRules {
  return { schemes: ["https"], addresses: false, own_hosts: own_urls.map((url) => new URL(url).host), dev_targets };
}

/** The rules for media: any public https place, never our own. */
export function mediaRules(own_urls: readonly string[]): TargetRules {
  return { schemes: ["https"], addresses: true, own_hosts: own_urls.map((url) => new URL(url).host), dev_targets: [] };
}

/** The URL as it will be called, or why it may not be. */
export function checkTarget(text: string, rules: TargetRules): Result<string, TargetProblem> {
  // The parser would drop blanks and turn backslashes round: what needs that was not meant well.
  if (text.length > MAX_URL || !/^[a-z][a-z0-9+.-]*:\/\/[^/]/i.test(text) || /[\s\\\p{Cc}]/u.test(text))
    return refuse("malformed");
  if (!URL.canParse(text)) return refuse("malformed");
  const url = new URL(text);
  url.hash = "";
  const problem = problemOf(url, rules);
  return problem === null ? ok(url.href) : refuse(problem);
}

/** `URL_NOT_ALLOWED` for the field that held the URL. */
export function targetRefusal(problem: TargetProblem, field: string): Refusal {
  return refusalOf("URL_NOT_ALLOWED", MESSAGES[problem], { field, reason: problem });
}

function problemOf(url: URL, rules: TargetRules): TargetProblem | null {
  if (url.username !== "" || url.password !== "") return "credentials";
  if (rules.own_hosts.includes(url.host)) return "own_host";
  if (rules.dev_targets.some((allowed) => isOrigin(url, allowed))) return null;
  if (!rules.schemes.some((scheme) => url.protocol === `${scheme}:`)) return "scheme";
  // A scheme's own port is dropped by the parser.
  if (url.port !== "") return "port";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (ipaddr.isValid(host)) return rules.addresses && isPublicAddress(host) ? null : "address";
  const name = host.replace(/\.$/, "");
  if (rules.own_hosts.includes(name)) return "own_host";
  return isPublicName(name) ? null : "host";
}

function isOrigin(url: URL, allowed: string): boolean {
  const anyPort = allowed.endsWith(":*") ? allowed.slice(0, -2) : null;
  return anyPort === null ? url.origin === allowed : `${url.protocol}//${url.hostname}` === anyPort;
}

/** A dotted name whose labels a resolver takes, outside the suffixes that are local everywhere. */
function isPublicName(name: string): boolean {
  const labels = name.split(".");
  if (name.length > MAX_HOST || labels.length < 2) return false;
  if (labels.some((label) => label.length > MAX_LABEL || !/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/i.test(label)))
    return false;
  return !LOCAL_SUFFIXES.some((suffix) => name === suffix || name.endsWith(`.${suffix}`));
}

/** IPv6 only inside 2000::/3: the library calls unallocated space and `::a.b.c.d` unicast. */
function isPublicAddress(host: string): boolean {
  const address = ipaddr.parse(host);
  if (address.range() !== "unicast" || PLATFORM_ADDRESSES.has(host)) return false;
  return address.kind() === "ipv4" || (address.toByteArray()[0] ?? 0) >> 5 === 1;
}
