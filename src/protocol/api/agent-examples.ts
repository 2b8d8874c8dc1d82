/**
 * Owns one example of each thing that an agent or its operator is answered about agents, for the OpenAPI document.
 * Invariant: each is in the form of the schema it stands beside (a test holds it to that); no secret in it was ever one.
 */
const AGENT = "ag_0123456789ab";
const AT = "2026-10-20T12:00:00.000Z";
const UNTIL = "2026-10-20T15:00:00.000Z";
const CODE = `ec_000000000default_${"0".repeat(26)}_${"0".repeat(27)}`;
const TOKEN = `ce_agent_000000000default_${"0".repeat(8)}_${"0".repeat(52)}_${"0".repeat(27)}`;

const shown = {
  agent: AGENT,
  pool: "default",
  name: "rig-1",
  online: false,
  hold: null,
  code_expires_at: null,
  created_at: AT,
  revoked_at: null,
};
const slot = {
  slot: 0,
  state: "busy",
  job_id: "j_68f6a1b2c3d4",
  next_job_id: null,
  since: AT,
  reason: null,
};

export const ENROL_EXAMPLE = { code: CODE, enrol_id: "7f3a9c2b1d4e6f80" };
export const ENROLLED_EXAMPLE = { agent: AGENT, name: "rig-1", pool: "default", token: TOKEN };
export const MADE_AGENT_EXAMPLE = { ...shown, code_expires_at: "2026-10-20T12:15:00.000Z", code: CODE, token: null };
export const AGENT_SELF_EXAMPLE = {
  agent: AGENT,
  name: "rig-1",
  pool: "default",
  online: true,
  hold: { kind: "pause", until: UNTIL, by: "agent" },
  now: AT,
  processes: [{ instance: "5a1c", version: "0.1.0", slots: [slot] }],
};
export const AGENT_DETAIL_EXAMPLE = {
  ...shown,
  online: true,
  leases: [{ job_id: slot.job_id, attempt: 1, slot: 0, since: AT, ahead: false }],
  last_error: { at: AT, text: "OUT_OF_MEMORY: The GPU has too little memory for this.", job_id: "j_68f6a1b2c3d3" },
  processes: [
    {
      instance: "5a1c",
      version: "0.1.0",
      slots: [slot],
      capability: {
        os: "linux",
        comfyui_version: "0.38.0",
        gpus: [{ name: "NVIDIA GeForce RTX 4090", vram_mb: 24_564 }],
        models: [{ kind: "checkpoints", name: "v1-5-pruned-emaonly.ckpt", size_bytes: 4_265_380_512 }],
        node_classes: ["KSampler"],
        custom_nodes: ["ComfyUI-Impact-Pack"],
        disk_free_bytes: 120_000_000_000,
        loaded_models: ["v1-5-pruned-emaonly.ckpt"],
      },
    },
  ],
};
