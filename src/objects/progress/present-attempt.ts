/**
 * Owns which attempt's agent speaks for the job here, and whether it is to stop.
 * Invariant: what viewers are shown comes from an attempt that the account named; it is asked when what is remembered cannot tell.
 */
import type { AgentLink } from "./agent-link.ts";
import type { Picture } from "./picture.ts";
import type { Viewers } from "./viewers.ts";

type Parts = {
  readonly picture: Picture;
  readonly viewers: Viewers;
  readonly agents: AgentLink;
  /** Reads the account's snapshot into the picture; false when the account could not be asked. */
  readonly read: () => Promise<boolean>;
};

export class PresentAttempt {
  readonly #parts: Parts;
  #reading: Promise<boolean> | null = null;
  #toStop = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Whether this attempt is the present one; `unknown` in an outage. Of a job that nobody has watched yet the latest attempt that
   * came is taken for it: there is nobody to show another's progress to, and what its lease is worth its agent hears with each
   * renewal.
   */
  async is(attempt: number): Promise<"yes" | "no" | "unknown"> {
    const { picture, viewers, agents, read } = this.#parts;
    if (picture.record === null && !viewers.isWatched()) return attempt < agents.newest ? "no" : "yes";
    const remembered = picture.isPresent(attempt);
    if (remembered !== "unknown") return remembered;
    this.#reading ??= read().finally(() => {
      this.#reading = null;
    });
    if (!(await this.#reading)) return "unknown";
    return picture.isPresent(attempt) === "yes" ? "yes" : "no";
  }

  /** Those that came before anyone watched were taken at their word. */
  async verify(): Promise<void> {
    const { agents } = this.#parts;
    for (const agent of [...agents.open()])
      if ((await this.is(agent.kept.lease.attempt)) === "no") agents.refuse(agent);
  }

  /** The account says that the attempt is to stop: its agent may not be here at the moment. */
  stop(attempt: number): void {
    this.#toStop = Math.max(this.#toStop, attempt);
  }

  mustStop(attempt: number): boolean {
    return this.#toStop === attempt || this.#parts.picture.record?.cancel_requested === true;
  }
}
