/**
 * Owns `offers_per_s_1000`, `offer_p99_ms_1000` and `pool_mb_per_1000_sockets`: what a pool does under 1,000 control sockets.
 * Invariant: an offer counts when its frame is at its agent. Nobody claims: what is measured is the pool, not the accounts.
 */
import { readdirSync, readFileSync } from "node:fs";
import { WebSocket } from "ws";
import { z } from "zod";
import { controlDownSchema } from "../../src/protocol/agent-api.ts";
import { asAgent, submit } from "../client.ts";
import { eventually } from "../comfyui.ts";
import { quantile } from "../load.ts";
import { memoryMb, type Rig, withRig } from "../rig.ts";

const AGENTS = 1_000;
const AT_ONCE = 50;
/** As many as a pool keeps in its list. */
const JOBS = 2_000;
const SINGLE = 200;

export function measureControlSockets(): Promise<Record<string, number>> {
  return withRig({ agents: 0 }, async (rig) => {
    const before = workerdMb();
    const fleet = new Fleet(rig);
    try {
      await fleet.connect();
      const after = workerdMb();
      const latencies = await singleOffers(rig, fleet);
      const offers_per_s_1000 = await burst(rig, fleet);
      return {
        offer_p99_ms_1000: quantile(latencies, 0.99),
        offer_p50_ms_1000: quantile(latencies, 0.5),
        offers_per_s_1000,
        pool_mb_per_1000_sockets: ((after - before) * 1_000) / AGENTS,
      };
    } finally {
      fleet.close();
    }
  });
}

/** One job at a time: from the submit to the frame at one of the idle agents. */
async function singleOffers(rig: Rig, fleet: Fleet): Promise<number[]> {
  const { direct_url, user_key } = rig.stack.file;
  const latencies: number[] = [];
  for (let n = 0; n < SINGLE; n++) {
    const offered = fleet.next();
    const start = performance.now();
    await submit(direct_url, user_key);
    latencies.push((await offered) - start);
  }
  return latencies;
}

/** A full list, and then every agent becomes idle: offers until the list is empty. */
async function burst(rig: Rig, fleet: Fleet): Promise<number> {
  const { direct_url, user_key } = rig.stack.file;
  fleet.tellAll("busy");
  for (let n = 0; n < JOBS; n += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, () => submit(direct_url, user_key)));
  const before = fleet.offers;
  const start = performance.now();
  fleet.tellAll("idle");
  await eventually("all offers", async () => (fleet.offers - before >= JOBS ? true : null), 120_000);
  return (JOBS * 1_000) / (fleet.lastAt - start);
}

/** Agents that take whatever they are offered, and are done with it at once. */
class Fleet {
  readonly #rig: Rig;
  readonly #sockets: WebSocket[] = [];
  #waiter: ((at: number) => void) | null = null;
  offers = 0;
  lastAt = 0;

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  async connect(): Promise<void> {
    for (let n = 0; n < AGENTS; n += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => this.#open(`bench-${n + i}`)));
    const online = z.object({ agents: z.object({ online: z.number() }) });
    const { direct_url, admin_key } = this.#rig.stack.file;
    await eventually("all agents online", async () => {
      const headers = { Authorization: `Bearer ${admin_key}` };
      const answer = await fetch(`${direct_url}/admin/pools/default`, { headers });
      return online.parse(await answer.json()).agents.online >= AGENTS ? true : null;
    });
  }

  /** When the next offer arrives, by this process's clock. */
  next(): Promise<number> {
    return new Promise((resolve) => {
      this.#waiter = resolve;
    });
  }

  tellAll(state: "idle" | "busy"): void {
    for (const socket of this.#sockets) say(socket, { state });
  }

  close(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  async #open(instance: string): Promise<void> {
    const { direct_url, agent_token } = this.#rig.stack.file;
    const socket = new WebSocket(`${direct_url.replace("http", "ws")}/agent/v1/control`, {
      headers: asAgent(agent_token),
      perMessageDeflate: false,
    });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    socket.on("message", (data) => this.#heard(socket, String(data)));
    const slots = [{ slot: 0, state: "idle" }];
    const hello = { type: "hello", agent: "bench", instance, version: "0", slots, capability_hash: "bench" };
    socket.send(JSON.stringify(hello));
    this.#sockets.push(socket);
  }

  #heard(socket: WebSocket, text: string): void {
    const message = controlDownSchema.safeParse(JSON.parse(text));
    if (message.data?.type !== "offer") return;
    this.offers++;
    this.lastAt = performance.now();
    this.#waiter?.(this.lastAt);
    this.#waiter = null;
    say(socket, { state: "busy", ref: message.data.ref });
    say(socket, { state: "idle" });
  }
}

function say(socket: WebSocket, slot: object): void {
  socket.send(JSON.stringify({ type: "slot", slot: 0, ...slot }));
}

/** Of every workerd that this process has started, by the kernel's count. */
function workerdMb(): number {
  const parents = new Map<number, { parent: number; name: string }>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, name = "", parent = "0"] =
        /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${entry}/stat`, "utf8")) ?? [];
      parents.set(Number(entry), { parent: Number(parent), name });
    } catch {
      // It has ended.
    }
  }
  const isOurs = (pid: number): boolean => {
    const found = parents.get(pid);
    return found !== undefined && (found.parent === process.pid || isOurs(found.parent));
  };
  const pids = [...parents].filter(([pid, { name }]) => name === "workerd" && isOurs(pid)).map(([pid]) => pid);
  return pids.reduce((sum, pid) => sum + memoryMb(pid, "now"), 0);
}
