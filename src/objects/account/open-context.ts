/**
 * Owns what a started account object works with: its database, alarm, hints and settings, put together once per start.
 * Invariant: reads and writes nothing; the clock and chance of every verb come from here.
 */
import { type Env, settingsOf } from "../../platform/env.ts";
import { macsOf } from "../../platform/macs.ts";
import { accountIdSchema } from "../../protocol/ids.ts";
import { openDatabase } from "../../storage/account/database.ts";
import { alarmsOf } from "../alarms.ts";
import { newAudience } from "./audience.ts";
import type { AccountContext } from "./context.ts";
import { countingDatabase } from "./counters.ts";
import { hintsOf } from "./hints.ts";
import { newWaiters } from "./waiters.ts";

export function contextOf(state: DurableObjectState, env: Env): AccountContext {
  const settings = settingsOf(env);
  const macs = macsOf(settings);
  const account = accountIdSchema.parse(state.id.name);
  const now = () => Date.now();
  const background = (work: Promise<unknown>) => state.waitUntil(work.catch(() => undefined));
  return {
    account,
    env,
    settings,
    macs,
    database: countingDatabase(openDatabase(state.storage)),
    alarms: alarmsOf(state.storage),
    hints: hintsOf({ account, env, settings, macs, now, background }),
    waiters: newWaiters(),
    audience: newAudience(),
    reads: { tat: 0 },
    now,
    random: () => Math.random(),
    background,
  };
}
