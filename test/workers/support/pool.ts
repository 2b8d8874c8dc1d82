/**
 * Owns a pool of its own for a test, its agents' control sockets and the offers made to it.
 */
import type { Offer } from "../../../src/objects/contract.ts";
import { poolOf } from "../../../src/objects/locate.ts";
import { sha256Hex } from "../../../src/platform/hash.ts";
import type { Capability, SlotState } from "../../../src/protocol/agent-api.ts";
import { jobIdSchema, keyIdSchema, type PoolName, poolNameSchema } from "../../../src/protocol/ids.ts";
import { bindings, freshAccount } from "./account.ts";
import { controlSocket, type TestSocket } from "./sockets.ts";

let made = 0;
export const fresh = () => ++made;

/** A pool of its own, with one agent admitted. */
export async function openPool() {
  const pool = poolNameSchema.parse(`p${fresh()}`);
  const stub = () => poolOf(bindings, pool);
  const admit = async (agent: string) => {
    const keyid = keyIdSchema.parse(String(fresh()).padStart(8, "0"));
    const secret_sha256 = sha256Hex(agent);
    await stub().createAgent({ agent, name: `name of ${agent}`, keyid, secret_sha256 });
    return { kind: "agent", keyid, secret_sha256 } as const;
  };
  return { pool, stub, admit, proof: await admit("agent-a") };
}
export type Pool = Awaited<ReturnType<typeof openPool>>;

/** An agent's process with its control socket and a hello. Resolves when the pool has taken in the hello. */
export async function connect(pool: Pool, agent = "agent-a", states: SlotState[] = ["idle"], instance = "one") {
  const socket = await controlSocket({ agent, name: agent }, pool.pool);
  const slots = states.map((state, slot) => ({ slot, state }));
  socket.say({ type: "hello", agent, instance, version: "1", slots, capability_hash: "h1", capability: CAPABILITY });
  await answered(socket);
  return socket;
}

/** Resolves when the pool has taken in everything said before. */
export async function answered(socket: TestSocket): Promise<void> {
  const before = socket.frames.filter(({ type }) => type === "taken").length;
  socket.say({ type: "known?", refs: [] });
  await socket.until(() => socket.frames.filter(({ type }) => type === "taken").length > before, "an answer");
}

export const CAPABILITY: Capability = {
  os: "linux",
  comfyui_version: "0.3.68",
  gpus: [{ name: "Test", vram_mb: 24_000 }],
  models: [{ kind: "checkpoints", name: "m.safetensors", size_bytes: 5 }],
  node_classes: ["KSampler"],
  custom_nodes: [],
  disk_free_bytes: 1e12,
  loaded_models: ["m.safetensors"],
};

export function offerOf(pool: PoolName, over: Partial<Offer> = {}): Offer {
  const account = over.account ?? freshAccount();
  const job = jobIdSchema.parse(`j_${String(fresh()).padStart(12, "0")}`);
  const ref = `r_${account}_${job.slice(2)}_1_${pool}_${"0".repeat(27)}`;
  return { ref, account, job, attempt: 1, priority: 0, weight: 1, models: [], ...over };
}

export const offered = (socket: TestSocket) =>
  socket.frames.filter(({ type }) => type === "offer").map(({ ref }) => ref);
export const isOffer = (ref: string) => (f: { type: string; ref?: unknown }) => f.type === "offer" && f.ref === ref;
export const objectOf = ({ pool }: Pool) => bindings.POOL.get(bindings.POOL.idFromName(pool));
