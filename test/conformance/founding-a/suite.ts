/**
 * Owns what the groups of the first founding system's batteries share: who calls, and a submit.
 * Invariant: asks through the public API alone.
 */
import { expect } from "vitest";
import type { Battery } from "../../support/conformance/battery.ts";
import type { Caller } from "../../support/conformance/caller.ts";
import type { Target } from "../../support/conformance/target.ts";

export type Suite = Battery & {
  /** Known once the tests run. */
  target(): Target;
  /** With the user's key, with the admin's key, and without any. */
  call: Caller;
  admin: Caller;
  open: Caller;
};

export const isOver = (job: Record<string, unknown>) =>
  ["succeeded", "failed", "canceled", "expired"].includes(String(job.status));

export const picture = (over: object = {}) => ({
  prompt: "A beautiful sunset over mountains",
  width: 512,
  height: 512,
  steps: 5,
  ...over,
});

export const fresh = (name: string) => `${name}-${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** Submits a picture; its id. */
export async function submit(call: Caller, over: object = {}, headers: Record<string, string> = {}): Promise<string> {
  const { status, body } = await call("POST", "/api/v1/jobs", { body: picture(over), headers });
  expect({ status, body }).toMatchObject({ status: 202 });
  expect(["queued", "running"]).toContain(body.status);
  return String(body.job_id);
}
