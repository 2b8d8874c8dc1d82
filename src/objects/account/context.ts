/**
 * Owns what every verb of the account object works with.
 * Invariant: one per running object; nothing in it but the database survives the object, and nothing needs to.
 */
import type { AdvanceContext } from "../../domain/advance.ts";
import type { LeaseTimes } from "../../domain/lease.ts";
import type { Env, Settings } from "../../platform/env.ts";
import type { Macs } from "../../platform/macs.ts";
import type { AccountId } from "../../protocol/ids.ts";
import type { AccountDatabase } from "../../storage/account/database.ts";
import type { Alarms } from "../alarms.ts";
import type { Audience } from "./audience.ts";
import type { Hints } from "./hints.ts";
import type { ReadMeter } from "./read-meter.ts";
import type { Waiters } from "./waiters.ts";

export type AccountContext = {
  readonly account: AccountId;
  readonly env: Env;
  readonly settings: Settings;
  readonly macs: Macs;
  readonly database: AccountDatabase;
  readonly alarms: Alarms;
  readonly hints: Hints;
  readonly waiters: Waiters;
  readonly audience: Audience;
  readonly reads: ReadMeter;
  /** Milliseconds UTC. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Keeps the object until the work is done; what it throws ends there: whoever it concerns has counted it. */
  readonly background: (work: Promise<unknown>) => void;
};

/** What `advance` is told of the moment of a decision. */
export function momentOf(ctx: AccountContext, now: number): AdvanceContext {
  return { now, random: ctx.random(), times: leaseTimesOf(ctx.settings) };
}

function leaseTimesOf(settings: Settings): LeaseTimes {
  return {
    first_ms: settings.FIRST_LEASE_MS,
    lease_ms: settings.LEASE_MS,
    renew_ms: settings.RENEW_MS,
    socket_grace_ms: settings.LEASE_SOCKET_GRACE_MS,
    cancel_grace_ms: settings.CANCEL_GRACE_MS,
  };
}
