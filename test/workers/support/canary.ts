/**
 * Runs before every test file of the Workers runtime: whatever any of them makes the product log is searched for secrets and prompts.
 * Invariant: I52: a key, token, ticket, lease, signed URL, development secret or prompt in any line fails the file it came from.
 */
import { env } from "cloudflare:workers";
import { afterAll, expect } from "vitest";

const FORMS: readonly (readonly [string, RegExp])[] = [
  ["a key", /ce_(user|service|admin|agent)_[a-z0-9]{16}_[0-9a-z]{8}_[0-9a-z]{20}/],
  ["a ticket", /tk_[a-z0-9]{16}_[0-9a-f]{12}_/],
  ["a lease", /\bl_[a-z0-9]{16}_[0-9a-f]{12}_/],
  ["a signed URL", /X-Amz-(Signature|Credential)/i],
  ["a webhook secret", /whsec_/],
  ["a prompt", /\ba (cat|lighthouse|secret cat|red kite)\b/],
  ["a workflow", /class_type/],
];

const secrets = Object.entries(env).flatMap(([name, value]) =>
  /SECRET|TOKEN/.test(name) && typeof value === "string" ? [[name, value.replace(/^\w:/, "")] as const] : [],
);

const found: string[] = [];

function look(line: string): void {
  // A test's own words are not the product's.
  if (!line.startsWith('{"level":')) return;
  for (const [what, form] of FORMS) if (form.test(line)) found.push(`${what}: ${line}`);
  for (const [name, value] of secrets) if (line.includes(value)) found.push(`${name}: ${line}`);
}

const log = console.log.bind(console);
console.log = (...args: unknown[]) => {
  look(String(args[0]));
  log(...args);
};

afterAll(() => {
  expect(found).toEqual([]);
});
