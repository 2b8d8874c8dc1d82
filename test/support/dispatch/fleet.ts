/**
 * Owns a fleet of agents for tests of the dispatcher: what each slot does is set by the test, what each is told is kept.
 * Invariant: decides nothing; an agent takes or declines only when the test says so.
 */
import type { Candidate } from "../../../src/domain/ready-list.ts";
import type { Fleet } from "../../../src/objects/pool/fleet.ts";
import type { ControlDown } from "../../../src/protocol/agent-api.ts";

/** One slot of an agent process. */
export type FakeAgent = {
  readonly id: string;
  state: "idle" | "busy";
  ahead: boolean;
  loaded: readonly string[];
  ref: string | null;
  next: { ref: string; since: number } | null;
};

export class FakeFleet implements Fleet {
  readonly agents: FakeAgent[];
  readonly told: { agent: string; message: ControlDown }[] = [];
  /** Called with each message after it was kept. */
  onTold: (agent: string, message: ControlDown) => void = () => {};
  /** How often somebody asked who is idle. */
  looks = 0;

  constructor(ids: readonly string[]) {
    this.agents = ids.map((id) => ({ id, state: "idle", ahead: false, loaded: [], ref: null, next: null }));
  }

  of(id: string): FakeAgent {
    const found = this.agents.find((agent) => agent.id === id);
    if (!found) throw new Error(`no agent ${id}`);
    return found;
  }

  candidates(only?: string): Candidate[] {
    this.looks++;
    return this.#those(({ state }) => state === "idle", only);
  }

  aheadCandidates(only?: string): Candidate[] {
    return this.#those(({ state, ahead, next }) => state === "busy" && ahead && next === null, only);
  }

  claimedAhead(): { ref: string; agent: string; since: number }[] {
    return this.agents.flatMap(({ id, next }) => (next === null ? [] : [{ agent: id, ...next }]));
  }

  runs(ref: string): boolean {
    return this.agents.some((agent) => agent.ref === ref || agent.next?.ref === ref);
  }

  send(agent: string, message: ControlDown): boolean {
    this.told.push({ agent, message });
    this.onTold(agent, message);
    return true;
  }

  #those(fits: (agent: FakeAgent) => boolean, only?: string): Candidate[] {
    const asked = this.agents.filter(({ id }) => only === undefined || id === only);
    return asked.filter(fits).map(({ id, loaded }) => ({ id, free: 1, loaded: new Set(loaded) }));
  }
}
