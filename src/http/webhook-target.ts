/**
 * Owns whether a webhook may go to the URL a request names.
 * Invariant: the rules are those it is judged by again at every try.
 */
import type { Context } from "hono";
import { checkTarget, hookRules, targetRefusal } from "../domain/outbound-target.ts";
import type { Refusal } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";

/** The URL as it will be called, or URL_NOT_ALLOWED naming `field`. */
export function hookTarget(c: Context<AppEnv>, url: string, field: string): Result<string, Refusal> {
  const { PUBLIC_URL, R2_ENDPOINT, DEV_TARGETS } = c.get("settings");
  const checked = checkTarget(url, hookRules([PUBLIC_URL, R2_ENDPOINT], DEV_TARGETS));
  return checked.ok ? ok(checked.value) : refuse(targetRefusal(checked.refusal, field));
}
