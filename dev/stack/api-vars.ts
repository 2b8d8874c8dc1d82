/**
 * Owns what `--var` may set.
 * Invariant: a name the API does not have, or a value its settings refuse, ends the start in one line before workerd runs.
 */
import { settingsOf } from "../../src/platform/env.ts";

/** @param given over `defaults`, which name every variable and secret of the API. Throws on the first wrong name, or on all wrong values. */
export function checkVars(defaults: Readonly<Record<string, unknown>>, given: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(given))
    if (!Object.hasOwn(defaults, name)) throw new Error(`the API has no variable ${name}: wrangler.toml lists them`);
  settingsOf({ ...defaults, ...given });
}
