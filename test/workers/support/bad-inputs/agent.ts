/**
 * Owns rows B150 to B154 of the bad-input catalogue: what an agent may say wrongly.
 * Invariant: the agent's API answers in its own form; a lease that is not the present one changes nothing.
 */
import { METRICS } from "../account.ts";
import { call, lostLease } from "../agent.ts";
import type { Row } from "./row.ts";

const lease = (verb: string, body: object) => (who: { agentToken: string }) =>
  call(who.agentToken, `/leases/${verb}`, body, { lease: lostLease() });
const manifest = (over: object) => ({
  name: "a.png",
  key: "a7/u/j/1-x/0.png",
  type: "image",
  content_type: "image/png",
  size_bytes: 1,
  md5: "0".repeat(32),
  sha256: "0".repeat(64),
  node_id: "9",
  width: 1,
  height: 1,
  seed: null,
  text: null,
  ...over,
});
const complete = (artifacts: object[]) => lease("complete", { artifacts, metrics: METRICS });
const renewal = (progress: unknown) => lease("renew", { phase: "executing", progress, progress_detail: null });
const failure = { code: "OUT_OF_MEMORY", transient: true, node_id: null, node_type: null, metrics: METRICS };

export const AGENT: readonly Row[] = [
  ["B150", "an old lease on complete", complete([]), 409, null],
  ["B150", "an old lease on release", lease("release", { reason: "drain", missing: [] }), 409, null],
  ["B151", "a hash of another form", complete([manifest({ md5: "x" })]), 400, null],
  ["B151", "a negative size", complete([manifest({ size_bytes: -1 })]), 400, null],
  ["B151", "1,001 files", complete(Array.from({ length: 1_001 }, () => manifest({}))), 400, null],
  ["B152", "progress 1e9", renewal(1e9), 400, null],
  ["B152", "progress in text", renewal("0.5"), 400, null],
  ["B153", "an error of 1 MB", lease("fail", { ...failure, message: "x".repeat(1_000_000) }), 400, null],
  ["B153", "a verdict of the control plane", lease("fail", { ...failure, message: "", code: "POISON" }), 400, null],
  [
    "B154",
    "another protocol",
    ({ agentToken }) => call(agentToken, "/claims", {}, { headers: { "X-Agent-Protocol": "2" } }),
    426,
    null,
  ],
  [
    "B154",
    "no protocol",
    ({ agentToken }) => call(agentToken, "/claims", {}, { headers: { "X-Agent-Protocol": "" } }),
    426,
    null,
  ],
];
