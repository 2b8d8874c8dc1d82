/**
 * Owns what befalls the processes of a soak: agents, simulators and workerd killed, stopped, drained and made to fail at random points.
 * Invariant: every trouble passes by itself; `calm` leaves nothing stopped and no knob set.
 */
import type { Agent } from "../../../dev/stack/agent.ts";
import { killHard } from "../../../dev/stack/guardian.ts";
import { workerdPids } from "../../../dev/stack/workerd-watch.ts";
import { CRASH_POINTS } from "../../../gpu-agent/simulator/faults.ts";
import { between, pick } from "./random.ts";

type Trouble = { name: string; weight: number; bring(agent: Agent): void | Promise<void> };

export class Troubles {
  readonly counts: Record<string, number> = {};
  readonly #agents: readonly Agent[];
  readonly #random: () => number;
  readonly #stopped = new Set<number>();
  readonly #all: Trouble[];

  constructor(agents: readonly Agent[], random: () => number) {
    this.#agents = agents;
    this.#random = random;
    const n = (low: number, high: number) => between(random, low, high);
    const knob = (name: string, weight: number, knobs: () => object): Trouble => ({
      name,
      weight,
      bring: (agent) => setKnobs(agent, knobs()),
    });
    this.#all = [
      { name: "agent killed", weight: 28, bring: (agent) => agent.process.kill() },
      { name: "agent told to drain", weight: 8, bring: (agent) => signal(agent.process.pid(), "SIGTERM") },
      { name: "agent stood still", weight: 12, bring: (agent) => this.#stand(agent, n(300, 6_000)) },
      { name: "ComfyUI killed", weight: 8, bring: (agent) => agent.simulator?.kill() },
      knob("ComfyUI died at a point", 18, () => ({
        crash: { at: pick(random, POINTS), skip: n(0, 4), downMs: n(0, 2_000) },
      })),
      knob("submit answered 500 or cut", 8, () => (random() < 0.5 ? { submit500: 1 } : { submitReset: 1 })),
      knob("ComfyUI's socket cut", 7, () => ({ cutAfterFrames: n(0, 20) })),
      knob("history late", 3, () => ({ lateHistoryMs: n(50, 1_000) })),
      knob("interrupts lost", 4, () => ({ loseInterrupts: n(1, 2) })),
      knob("frames lost", 3, () => ({ loseFramesAfter: n(0, 20) })),
      { name: "control plane killed", weight: 1, bring: killWorkerd },
    ];
  }

  async strike(): Promise<void> {
    const trouble = pick(
      this.#random,
      this.#all.map((one) => [one.weight, one] as const),
    );
    const agent = pick(
      this.#random,
      this.#agents.map((one) => [1, one] as const),
    );
    this.counts[trouble.name] = (this.counts[trouble.name] ?? 0) + 1;
    await trouble.bring(agent);
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  async calm(): Promise<void> {
    for (const pid of this.#stopped) signal(pid, "SIGCONT");
    await Promise.all(this.#agents.map((agent) => setKnobs(agent, null)));
  }

  #stand(agent: Agent, ms: number): void {
    const pid = agent.process.pid();
    if (pid === null) return;
    signal(pid, "SIGSTOP");
    this.#stopped.add(pid);
    setTimeout(() => {
      signal(pid, "SIGCONT");
      this.#stopped.delete(pid);
    }, ms);
  }
}

const POINTS = CRASH_POINTS.map((point) => [1, point] as const);

/** Null: all knobs off. A simulator that is down has none. */
async function setKnobs(agent: Agent, knobs: object | null): Promise<void> {
  const init = knobs === null ? { method: "DELETE" } : { method: "POST", body: JSON.stringify(knobs) };
  await fetch(`${agent.comfyuiUrl}/sim/faults`, { ...init, signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
}

function signal(pid: number | null, name: NodeJS.Signals): void {
  if (pid === null) return;
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

async function killWorkerd(): Promise<void> {
  for (const pid of await workerdPids()) killHard(pid);
}
