/**
 * Owns the configuration that documents describe: the variables of wrangler.toml, as the Worker itself reads them.
 * Invariant: no secret of any machine is read; the settings' own parser supplies defaults and refuses what is wrong.
 */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { type Settings, settingsOf } from "../../src/platform/env.ts";

export type Configuration = {
  settings: Settings;
  /** Values as written, by name; settings that only have a default in code are absent. */
  written: { [name: string]: string };
  /** Requests without a valid key that one address may make. */
  edge: { limit: number; period: number };
};

const tomlSchema = z.object({
  vars: z.record(z.string(), z.string()),
  ratelimits: z.tuple([z.object({ simple: z.object({ limit: z.number(), period: z.number() }) })]),
});

/** Stand-ins of the right form: a document names no secret's value. */
const SECRETS = {
  KEY_MAC_SECRET: "a:0000000000000000",
  BOOTSTRAP_TOKEN: "0000000000000000",
  R2_ACCESS_KEY_ID: "0",
  R2_SECRET_ACCESS_KEY: "0",
  QUEUE_API_TOKEN: "0",
};
export const SECRET_NAMES: readonly string[] = Object.keys(SECRETS);

export function configuration(root: URL): Configuration {
  const toml = tomlSchema.parse(parse(readFileSync(new URL("wrangler.toml", root), "utf8")));
  return {
    settings: settingsOf({ ...toml.vars, ...SECRETS }),
    written: toml.vars,
    edge: toml.ratelimits[0].simple,
  };
}
