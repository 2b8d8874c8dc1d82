/** Holds what an agent may report to what a job's row can carry, and to what an agent can know. */
import { describe, expect, it } from "vitest";
import { completeRequestSchema, failRequestSchema, MAX_MANIFEST_TEXT } from "../../../src/protocol/agent-api.ts";

const metrics = { prepare_ms: 1, load_ms: 2, run_ms: 3, upload_ms: 4, gpu_seconds: 0.003, gpu_name: "GPU" };
const textOf = (length: number) => ({
  name: "2_0.txt",
  key: null,
  type: "text",
  content_type: "text/plain",
  size_bytes: length,
  md5: null,
  sha256: "a".repeat(64),
  node_id: "2",
  width: null,
  height: null,
  seed: null,
  text: "x".repeat(length),
});
const isTaken = (...lengths: number[]) =>
  completeRequestSchema.safeParse({ artifacts: lengths.map(textOf), metrics }).success;

describe("a manifest", () => {
  it("holds as much text as a row and a list can carry, all entries together", () => {
    expect(isTaken(MAX_MANIFEST_TEXT)).toBe(true);
    expect(isTaken(MAX_MANIFEST_TEXT - 5, 5)).toBe(true);
    expect(isTaken(MAX_MANIFEST_TEXT - 5, 6)).toBe(false);
  });
});

describe("a failure", () => {
  it.each(["COMFYUI_EXECUTION", "OUT_OF_MEMORY", "JOB_TIMEOUT"])("may be %s", (code) => {
    expect(failRequestSchema.safeParse(failure(code)).success).toBe(true);
  });

  it.each(["AGENT_LOST", "POISON", "UNDELIVERABLE", "QUEUE_TIMEOUT"])(
    "is never %s, which only the control plane can know",
    (code) => {
      expect(failRequestSchema.safeParse(failure(code)).success).toBe(false);
    },
  );
});

const failure = (code: string) => ({ code, message: "x", transient: false, node_id: null, node_type: null, metrics });
