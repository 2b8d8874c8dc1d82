/**
 * Owns the fault knobs: what is to go wrong, how often, and who asks.
 * Invariant: without knobs the simulator behaves as a healthy server; a knob with a count goes out by itself.
 */
import { z } from "zod";

const count = z.number().int().nonnegative();
const ms = z.number().nonnegative().max(3_600_000);

/** Every knob is off when absent. Counts say how many times it still happens. */
export const faultsSchema = z.strictObject({
  /** Milliseconds between `execution_success` and the history entry. */
  lateHistoryMs: ms.optional(),
});
export type FaultPlan = z.infer<typeof faultsSchema>;
type CountKnob = { [K in keyof FaultPlan]-?: NonNullable<FaultPlan[K]> extends number ? K : never }[keyof FaultPlan];

export class Faults {
  plan: FaultPlan = {};

  set(plan: FaultPlan): void {
    this.plan = { ...this.plan, ...plan };
  }

  reset(): void {
    this.plan = {};
  }

  /** True, and one less, while a counted knob is on. */
  take(knob: CountKnob): boolean {
    const left = this.plan[knob] ?? 0;
    if (left <= 0) return false;
    this.plan = { ...this.plan, [knob]: left - 1 };
    return true;
  }
}
void count;
