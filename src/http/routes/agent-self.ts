/**
 * Owns what an agent asks about itself: its token for a code, how it stands, its own hold, a file to try the bucket with.
 * Invariant: a wrong, spent and expired code are one answer; an agent ends no hold but its own.
 */
import type { Context } from "hono";
import type { AgentRow, Hold } from "../../objects/contract.ts";
import { poolOf } from "../../objects/locate.ts";
import { signUpload } from "../../platform/artifact-store.ts";
import { poolConfig } from "../../platform/env.ts";
import { randomBase32, sha256Hex } from "../../platform/hash.ts";
import { timeText } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import {
  type AgentSelf,
  type EnrolAnswer,
  enrolRequestSchema,
  testUploadRequestSchema,
} from "../../protocol/agent-self.ts";
import { holdSchema } from "../../protocol/api/agents.ts";
import { testKey } from "../../protocol/bucket-keys.ts";
import { type KeyId, keyIdSchema, poolIdOf } from "../../protocol/ids.ts";
import { recordByAgent, shownHold, shownSlots } from "../admin-pools.ts";
import { agentBody, agentError } from "../agent-answer.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { holdUntil, UNTIL_REFUSAL } from "../hold-until.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import * as docs from "./agent-self-documents.ts";

export const agentSelfRoutes = newRouteSet();

const CODE_REFUSED = "The code is wrong, was used, or is older than 15 minutes. Ask an operator for a new one.";

/** The token follows from the code and the asking, so that a lost answer can be asked for again and nothing secret is stored. */
addRoute(agentSelfRoutes, docs.enrol, async (c) => {
  const body = await agentBody(c, enrolRequestSchema);
  if (!body.ok) return body.refusal;
  const { code, enrol_id } = body.value;
  const settings = c.get("settings");
  const macs = macsOf(settings);
  const named = macs.verifyCode(code);
  if (named === null || poolConfig(settings, named.pool) === null) return codeRefused(c);
  const secret = macs.secretFrom(code, enrol_id);
  const enrolled = await poolOf(c.env, named.pool).enrol({
    code_sha256: sha256Hex(code),
    keyid: newKeyId(),
    secret_sha256: sha256Hex(secret),
  });
  if (!enrolled.ok) return codeRefused(c);
  const { row, keyid } = enrolled.value;
  forgetAgent(row.agent);
  // Told again with each asking: the first may have ended before it was.
  await recordByAgent(c, { action: "enrol_agent", pool: named.pool, row, entry: `enrol:${keyid}` });
  const token = macs.signKey({ kind: "agent", account: poolIdOf(named.pool), keyid, secret });
  return c.json({ agent: row.agent, name: row.name, pool: named.pool, token } satisfies EnrolAnswer);
});

function codeRefused(c: Context<AppEnv>): Response {
  return agentError(c, 401, "code_refused", CODE_REFUSED);
}

function newKeyId(): KeyId {
  return keyIdSchema.parse(randomBase32(8));
}

addRoute(agentSelfRoutes, docs.readSelf, (c) => shownSelf(c));

addRoute(agentSelfRoutes, docs.pauseSelf, async (c) => {
  const body = await agentBody(c, holdSchema);
  if (!body.ok) return body.refusal;
  const until = holdUntil(body.value, Date.now());
  if (until === "refused") return agentError(c, 400, "bad_request", UNTIL_REFUSAL.message);
  return holdSelf(c, "pause_agent", { kind: "pause", until });
});
addRoute(agentSelfRoutes, docs.drainSelf, (c) => holdSelf(c, "drain_agent", { kind: "drain", until: null }));
addRoute(agentSelfRoutes, docs.resumeSelf, (c) => holdSelf(c, "resume_agent", null));

/** Signed for one small file of a day's life. */
addRoute(agentSelfRoutes, docs.testUpload, async (c) => {
  const body = await agentBody(c, testUploadRequestSchema);
  if (!body.ok) return body.refusal;
  const key = testKey(c.get("agent").agent, randomBase32(16));
  const spec = { ...body.value, content_type: "application/octet-stream", disposition: "attachment" };
  const { url, headers } = await signUpload(c.get("settings"), key, spec, Date.now());
  return c.json({ url, method: "PUT", headers });
});

async function holdSelf(c: Context<AppEnv>, action: string, hold: Hold | null): Promise<Response> {
  const { agent, pool } = c.get("agent");
  const held = await poolOf(c.env, pool).holdAgents(agent, hold, true);
  if (!held.ok) return agentError(c, 401, "unauthorized");
  forgetAgent(agent);
  return shownSelf(c, (row) => recordByAgent(c, { action, pool, row }));
}

async function shownSelf(
  c: Context<AppEnv>,
  told: (row: AgentRow) => Promise<void> = async () => {},
): Promise<Response> {
  const { agent, name, pool } = c.get("agent");
  const detail = await poolOf(c.env, pool).agentDetail(agent);
  if (!detail.ok) return agentError(c, 401, "unauthorized");
  const { online, held, processes } = detail.value;
  await told(detail.value);
  const self: AgentSelf = {
    agent,
    name,
    pool,
    online,
    hold: shownHold(held),
    now: timeText(Date.now()),
    processes: processes.map((process) => {
      const { instance, version } = process;
      return { instance, version, slots: shownSlots(process) };
    }),
  };
  return c.json(self);
}
