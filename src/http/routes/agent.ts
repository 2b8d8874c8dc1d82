/**
 * Owns the agent API's frame and its claims (CONTRACT 2): protocol version, token, then claims, leases, sockets and the queue.
 * Invariant: answers in its own shapes; a claim is decided by the account alone, the Worker checks MACs and signs.
 */
import type { ClaimGrant } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { signDownload } from "../../platform/artifact-store.ts";
import type { Settings } from "../../platform/env.ts";
import { logLine } from "../../platform/log.ts";
import { macsOf } from "../../platform/macs.ts";
import { count } from "../../platform/metrics.ts";
import {
  type ClaimGrantBody,
  type ClaimRefusal,
  claimRequestSchema,
  DEFAULT_SOCKET_GRACE_MS,
} from "../../protocol/agent-api.ts";
import type { RefFields } from "../../protocol/ids.ts";
import { agentBody, agentError, agentException } from "../agent-answer.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { checkAgent, isHeld } from "../middleware/authenticate-agent.ts";
import * as docs from "./agent-documents.ts";
import { agentLeaseRoutes } from "./agent-leases.ts";
import { agentQueueRoutes } from "./agent-queue.ts";
import { agentSelfRoutes } from "./agent-self.ts";
import { agentSocketRoutes } from "./agent-sockets.ts";

/** Inputs are fetched right after the claim; a download that is slow to start still finds its URL good. */
const INPUT_URL_TTL_S = 3_600;

export const agentRoutes = newRouteSet();
agentRoutes.onError(agentException);

addRoute(agentRoutes, docs.claim, async (c) => {
  const body = await agentBody(c, claimRequestSchema);
  if (!body.ok) return body.refusal;
  const agent = c.get("agent");
  const settings = c.get("settings");
  const refused = (refusal: ClaimRefusal) => {
    count("comfy_edge_claims_total", { outcome: refusal });
    c.set("refused", refusal);
    return c.json({ refusal }, 409);
  };
  const ref = macsOf(settings).verifyRef(body.value.ref);
  if (ref === null) {
    // A doorbell that names no attempt of ours: the agent acknowledges it and moves on.
    logLine("warn", "ref_forged", { request_id: c.get("request_id"), agent: agent.agent });
    return refused("gone");
  }
  c.set("job", ref.job);
  if (ref.pool !== agent.pool) return refused("wrong_pool");
  const { claim_id, slot, ahead } = body.value;
  const { job, attempt } = ref;
  const held = await isHeld(c);
  const claim = await accountOf(c.env, ref.account).claim({ job, attempt, claim_id, agent, slot, ahead, held });
  if (!claim.ok) return refused(claim.refusal);
  count("comfy_edge_claims_total", { outcome: "granted" });
  return c.json(await grantBody(settings, ref, claim.value));
});

agentRoutes.route("/leases", agentLeaseRoutes);
agentRoutes.route("/queue", agentQueueRoutes);
agentRoutes.route("/", agentSocketRoutes);
agentRoutes.route("/", agentSelfRoutes);
agentRoutes.all("*", async (c) => (await checkAgent(c)) ?? agentError(c, 404, "not_found"));

/** The grant as the agent receives it: the lease under its MAC, inputs as URLs that can be read once fetched now. */
async function grantBody(settings: Settings, ref: RefFields, grant: ClaimGrant): Promise<ClaimGrantBody> {
  const { account, job } = ref;
  const { attempt, nonce } = grant;
  const nowMs = Date.now();
  const inputs = grant.inputs.map(async ({ name, bucket_key, size_bytes, md5 }) => {
    const { url } = await signDownload(settings, bucket_key, INPUT_URL_TTL_S, nowMs);
    return { name, url, size_bytes, md5 };
  });
  return {
    lease: macsOf(settings).signLease({ account, job, attempt, nonce }),
    lease_expires_in_ms: grant.lease_expires_in_ms,
    renew_every_ms: grant.renew_every_ms,
    ...graceOf(settings),
    account,
    job,
    attempt,
    workflow: grant.workflow_text,
    workflow_hash: grant.workflow_hash,
    shape: grant.shape,
    inputs: await Promise.all(inputs),
    output: { max_files: grant.max_files, max_bytes: grant.max_bytes, keep_metadata: grant.keep_metadata },
    limits: { run_ms: grant.run_ms, no_progress_ms: grant.no_progress_ms },
    progress_url: `${settings.PUBLIC_URL.replace(/^http/, "ws")}/agent/v1/leases/progress`,
    traceparent: grant.traceparent,
  };
}

/** An agent must stop before an account with another grace gives its lease to the next one. */
function graceOf({ LEASE_SOCKET_GRACE_MS }: Settings): { socket_grace_ms?: number } {
  return LEASE_SOCKET_GRACE_MS === DEFAULT_SOCKET_GRACE_MS ? {} : { socket_grace_ms: LEASE_SOCKET_GRACE_MS };
}
