/**
 * Owns what agents are told of their audience: whether anyone watches, and whether anyone wants previews.
 * Invariant: a hint. An agent that was not told sends everything; each is told when it comes and when the audience changes.
 */
import type { AgentDownFrame } from "../../protocol/progress.ts";
import type { AgentLink, AgentSocket } from "./agent-link.ts";
import type { Viewers } from "./viewers.ts";

type Told = Extract<AgentDownFrame, { type: "audience" }>;

/** Whoever polls reads progress of this moment for so long after each question. */
const POLLED_MS = 10_000;
/** While a job is polled its agent is told so this often. */
const POLL_TOLD_EVERY_MS = 5_000;

export class Audience {
  readonly #agents: AgentLink;
  readonly #viewers: Viewers;
  #told: string | null = null;
  #pollToldAt = Number.NEGATIVE_INFINITY;

  constructor(agents: AgentLink, viewers: Viewers) {
    this.#agents = agents;
    this.#viewers = viewers;
  }

  /** A viewer came or went. After a start with empty memory nothing is known as told. */
  changed(): void {
    const frame = this.#frame();
    if (this.#told === JSON.stringify(frame)) return;
    this.#told = JSON.stringify(frame);
    for (const agent of this.#agents.open()) this.#agents.send(agent, frame);
  }

  /** An agent's socket was taken. */
  met(agent: AgentSocket): void {
    const frame = this.#frame();
    this.#told = JSON.stringify(frame);
    if (!frame.viewers || !frame.previews) this.#agents.send(agent, frame);
  }

  /** Somebody reads the progress without watching. */
  polled(now: number): void {
    if (this.#viewers.isWatched() || Math.abs(now - this.#pollToldAt) < POLL_TOLD_EVERY_MS) return;
    this.#pollToldAt = now;
    const frame: Told = { type: "audience", viewers: true, previews: false, for_ms: POLLED_MS };
    for (const agent of this.#agents.open()) this.#agents.send(agent, frame);
  }

  #frame(): Told {
    return { type: "audience", viewers: this.#viewers.isWatched(), previews: this.#viewers.wantsPreviews() };
  }
}
