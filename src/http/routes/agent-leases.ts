/**
 * Owns the calls under a lease: renew, uploads, complete, fail, release, stopped.
 * Invariant: the lease's MAC names account, job and attempt, so no call can reach another one; the account alone says
 * whether that lease is still the present one. A lease whose MAC does not hold is simply lost.
 */
import type { Context } from "hono";
import type { Finished, LeaseLost } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { readSeen, type Seen, signUpload } from "../../platform/artifact-store.ts";
import type { Settings } from "../../platform/env.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { macsOf } from "../../platform/macs.ts";
import { count } from "../../platform/metrics.ts";
import { dispositionOf, extensionOf, keyNumbers, storedContentType } from "../../platform/stored-content.ts";
import {
  type CompleteRequest,
  completeRequestSchema,
  failRequestSchema,
  HEADER_LEASE,
  type RenewAnswer,
  releaseRequestSchema,
  renewRequestSchema,
  stoppedRequestSchema,
  type UploadsAnswer,
  type UploadsRequest,
  uploadsRequestSchema,
} from "../../protocol/agent-api.ts";
import { artifactKey, attemptPrefix, isUnderPrefix, RETENTION_CLASSES } from "../../protocol/bucket-keys.ts";
import type { LeaseFields } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import { agentBody, agentError } from "../agent-answer.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import * as docs from "./agent-documents.ts";

export const agentLeaseRoutes = newRouteSet();

/** The lease of a call, its MAC checked; null: none, malformed, or forged. */
export function presentedLease(c: Context<AppEnv>): LeaseFields | null {
  const lease = macsOf(c.get("settings")).verifyLease(c.req.header(HEADER_LEASE) ?? "");
  if (lease !== null) c.set("job", lease.job);
  return lease;
}

export function leaseLost(c: Context<AppEnv>): Response {
  c.set("refused", "lease_lost");
  return c.json({ refusal: "lease_lost" } satisfies LeaseLost, 409);
}

type Call = "uploads" | "complete" | "fail" | "release" | "stopped";

function answered(c: Context<AppEnv>, call: Call, result: Result<Finished, LeaseLost>): Response {
  count("comfy_edge_lease_calls_total", { call, answer: result.ok ? result.value.status : "lease_lost" });
  return result.ok ? c.json({ status: result.value.status }) : leaseLost(c);
}

addRoute(agentLeaseRoutes, docs.renew, async (c) => {
  const body = await agentBody(c, renewRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  const lost: RenewAnswer = { answer: "lost", lease_expires_in_ms: 0 };
  const answer = lease === null ? lost : await accountOf(c.env, lease.account).renew(lease, body.value);
  count("comfy_edge_lease_calls_total", { call: "renew", answer: answer.answer });
  return c.json(answer);
});

addRoute(agentLeaseRoutes, docs.uploads, async (c) => {
  const body = await agentBody(c, uploadsRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  const grant = await accountOf(c.env, lease.account).grantUploads(lease);
  count("comfy_edge_lease_calls_total", { call: "uploads", answer: grant.ok ? "signed" : "lease_lost" });
  if (!grant.ok) return leaseLost(c);
  count("comfy_edge_uploads_signed_total", {}, body.value.files.length);
  return c.json(await signedUploads(c.get("settings"), grant.value.prefix, body.value.files));
});

/** One URL per file, in the order of the request. */
async function signedUploads(
  settings: Settings,
  prefix: string,
  files: UploadsRequest["files"],
): Promise<UploadsAnswer> {
  const numbers = keyNumbers(files);
  const nowMs = Date.now();
  const uploads = files.map(async ({ name, content_type, size_bytes, md5 }, i) => {
    const stored = storedContentType(content_type);
    const key = artifactKey(prefix, numbers[i] ?? i, extensionOf(stored));
    const spec = { content_type: stored, size_bytes, md5, disposition: dispositionOf(name, stored) };
    const { url, headers } = await signUpload(settings, key, spec, nowMs);
    return { name, key, url, method: "PUT" as const, headers };
  });
  return { uploads: await Promise.all(uploads) };
}

addRoute(agentLeaseRoutes, docs.complete, async (c) => {
  const body = await agentBody(c, completeRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  const { artifacts, metrics, logs } = body.value;
  const seen = await seenIn(c, lease, artifacts);
  if (seen === null) return agentError(c, 503, "bucket_unavailable");
  const stored = artifacts.map((entry) => ({ ...entry, content_type: storedContentType(entry.content_type) }));
  const result = await accountOf(c.env, lease.account).complete(lease, stored, seen, metrics, logs);
  return answered(c, "complete", result);
});

/**
 * What the bucket holds for a manifest; null when it does not answer. Keys outside the attempt's own prefixes are not looked
 * up (they are reported as absent), so a manifest cannot be used to ask about other people's objects.
 */
async function seenIn(
  c: Context<AppEnv>,
  lease: LeaseFields,
  artifacts: CompleteRequest["artifacts"],
): Promise<Seen[] | null> {
  const { account, job, attempt, nonce } = lease;
  const own = RETENTION_CLASSES.map((days) => attemptPrefix(days, account, job, attempt, nonce));
  const keys = new Set(artifacts.flatMap(({ key }) => (key === null ? [] : [key])));
  const mine = [...keys].filter((key) => own.some((prefix) => isUnderPrefix(key, prefix)));
  const foreign = [...keys].filter((key) => !mine.includes(key));
  try {
    const seen = await readSeen(c.env.ARTIFACTS, mine);
    return [...seen, ...foreign.map((key) => ({ key, size_bytes: null, md5: null }))];
  } catch (error) {
    logLine("error", "bucket_failed", { request_id: c.get("request_id"), job, cause: causeOf(error) });
    return null;
  }
}

addRoute(agentLeaseRoutes, docs.fail, async (c) => {
  const body = await agentBody(c, failRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  return answered(c, "fail", await accountOf(c.env, lease.account).fail(lease, body.value));
});

addRoute(agentLeaseRoutes, docs.release, async (c) => {
  const body = await agentBody(c, releaseRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  return answered(c, "release", await accountOf(c.env, lease.account).release(lease, body.value));
});

addRoute(agentLeaseRoutes, docs.stopped, async (c) => {
  const body = await agentBody(c, stoppedRequestSchema);
  if (!body.ok) return body.refusal;
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  return answered(c, "stopped", await accountOf(c.env, lease.account).stopped(lease, body.value));
});
