/**
 * Holds the settings schema against the two places that feed it: wrangler.toml's `[vars]` and `.dev.vars.example`.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { devVars } from "../../../dev/dev-vars.ts";
import { checkVars } from "../../../dev/stack/api-vars.ts";
import { settingsOf } from "../../../src/platform/env.ts";

const toml = readFileSync(new URL("../../../wrangler.toml", import.meta.url), "utf8");
const vars = Object.fromEntries(
  [...(toml.split("[vars]")[1] ?? "").matchAll(/^([A-Z0-9_]+) = (?:"([^"]*)"|'([^']*)')$/gm)].map((m) => [
    m[1],
    m[2] ?? m[3],
  ]),
);
const dev = { ...vars, ...devVars() };
const prod = {
  ...vars,
  KEY_MAC_SECRET: "a:0123456789abcdef0123",
  BOOTSTRAP_TOKEN: "0123456789abcdef0123",
  R2_ACCESS_KEY_ID: "id",
  R2_SECRET_ACCESS_KEY: "secret",
  QUEUE_API_TOKEN: "token",
};

describe("settings", () => {
  it("accepts wrangler.toml together with .dev.vars.example", () => {
    expect(settingsOf({ ...dev })).toMatchObject({ ENVIRONMENT: "dev", LEASE_MS: 60_000, AUTH_ENABLED: true });
  });

  it("accepts wrangler.toml with real secrets in production", () => {
    expect(settingsOf({ ...prod })).toMatchObject({ ENVIRONMENT: "prod", MAX_QUEUED: 1000 });
    const budget = { pixels: 67_108_864, images: 1_024, total_pixels: 1_073_741_824, steps: 1_000 };
    expect(settingsOf({ ...prod })).toMatchObject({ MAX_WAIT_MS: 60_000, BUDGET: budget });
    expect(settingsOf({ ...prod, BUDGET: '{"steps": 50}' })).toMatchObject({ BUDGET: { ...budget, steps: 50 } });
    expect(() => settingsOf({ ...prod, BUDGET: '{"step": 50}' })).toThrow("BUDGET");
  });

  it("refuses to start outside dev with auth off or with a development secret", () => {
    expect(() => settingsOf({ ...prod, AUTH_ENABLED: "false" })).toThrow("AUTH_ENABLED: may be false only in dev");
    for (const name of ["KEY_MAC_SECRET", "BOOTSTRAP_TOKEN", "R2_SECRET_ACCESS_KEY", "QUEUE_API_TOKEN"])
      expect(() => settingsOf({ ...prod, [name]: dev[name] })).toThrow(`${name}: is a development secret`);
    expect(settingsOf({ ...dev, AUTH_ENABLED: "false" })).toMatchObject({ AUTH_ENABLED: false });
  });

  it("I47: refuses to start outside dev with targets let through against the rules", () => {
    expect(() => settingsOf({ ...prod, DEV_TARGETS: "http://127.0.0.1:*" })).toThrow(
      "DEV_TARGETS: may be set only in dev",
    );
    expect(settingsOf({ ...dev, DEV_TARGETS: "http://127.0.0.1:*" })).toMatchObject({
      DEV_TARGETS: ["http://127.0.0.1:*"],
    });
  });

  it("names every wrong setting and shows no value", () => {
    const wrong = { ...prod, LEASE_MS: "soon", ROLES: "{", BOOTSTRAP_TOKEN: "s3cret" };
    expect(() => settingsOf(wrong)).toThrow(/ROLES: is not JSON.*LEASE_MS: .*BOOTSTRAP_TOKEN: /);
    expect(() => settingsOf({ ...wrong })).not.toThrow(/s3cret/);
  });

  it("overrides single limits of a role and keeps the others", () => {
    const { ROLES } = settingsOf({ ...dev, ROLES: '{"free":{"max_active":100}}' });
    expect(ROLES.free).toMatchObject({ max_active: 100, max_running: 1, daily: 10 });
    expect(() => settingsOf({ ...dev, ROLES: '{"gold":{}}' })).toThrow(/ROLES/);
  });
});

describe("a variable given to a local start", () => {
  it("is taken when the API has it and its value is acceptable", () => {
    const given = { OFFERS_ENABLED: "false", LEASE_MS: "90000", BOOTSTRAP_TOKEN: "x".repeat(20) };
    expect(() => checkVars(dev, given)).not.toThrow();
  });

  it("is refused by name when it is misspelled or wrong, instead of a start that only looks well", () => {
    expect(() => checkVars(dev, { OFFER_ENABLED: "false" })).toThrow(/^the API has no variable OFFER_ENABLED/);
    expect(() => checkVars(dev, { toString: "x" })).toThrow(/no variable toString/);
    expect(() => checkVars(dev, { LEASE_MS: "abc", AUTH_ENABLED: "no" })).toThrow(/AUTH_ENABLED: .*LEASE_MS: /);
  });
});
