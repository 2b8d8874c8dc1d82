/**
 * Owns whose turn it is: start-time fair queueing between accounts by GPU seconds over weight.
 * Invariant: while several accounts wait, their GPU seconds over weight stay together within one job each; time in which an
 * account had nothing to run is never saved up.
 */
import type { AccountId } from "../protocol/ids.ts";

/** Of one account. `turn`: the weighted seconds at which its next job would begin; `job_s`: a job of its lasts about so long. */
type Share = { turn: number; job_s: number; active: number };

/** Before anything is known of an account's jobs. */
const FIRST_GUESS_S = 5;
/** How much the latest job counts in the guess for the next. */
const LATEST = 0.3;

/** What giving a job cost an account, to be settled when it is known how long it took. */
export type Charge = { readonly account: AccountId; readonly weight: number; readonly guess_s: number };

export class FairTurns {
  readonly #shares = new Map<AccountId, Share>();
  /** The turn of the job given last: an account that comes back starts here. */
  #now = 0;

  /** Smaller goes first. */
  turnOf(account: AccountId): number {
    return Math.max(this.#shares.get(account)?.turn ?? 0, this.#now);
  }

  /**
   * A job of the account is given to an agent: charged as a guess. `weight` is at least 1. `isTurn`: nobody who waits has an
   * earlier turn; one that was given out of turn moves nobody's.
   */
  give(account: AccountId, weight: number, isTurn: boolean): Charge {
    const turn = this.turnOf(account);
    const share = this.#shares.get(account) ?? { turn, job_s: FIRST_GUESS_S, active: 0 };
    if (isTurn) this.#now = Math.max(this.#now, turn);
    share.turn = turn + share.job_s / weight;
    share.active += 1;
    this.#shares.set(account, share);
    return { account, weight, guess_s: share.job_s };
  }

  /** The agent did not take it: as if it had not been given. */
  takeBack({ account, weight, guess_s }: Charge): void {
    this.#settle(account, -guess_s / weight);
  }

  /** It ran for so many seconds. */
  finish({ account, weight, guess_s }: Charge, seconds: number): void {
    const share = this.#shares.get(account);
    if (share) share.job_s += LATEST * (seconds - share.job_s);
    this.#settle(account, (seconds - guess_s) / weight);
  }

  /** Accounts remembered. One without a job in hand and no turn to wait for is as good as new, and is forgotten. */
  get size(): number {
    return this.#shares.size;
  }

  #settle(account: AccountId, by: number): void {
    const share = this.#shares.get(account);
    if (!share) return;
    share.turn += by;
    share.active -= 1;
    for (const [other, { active, turn }] of this.#shares)
      if (active <= 0 && turn <= this.#now) this.#shares.delete(other);
  }
}
