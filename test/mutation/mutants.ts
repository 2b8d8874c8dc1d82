/**
 * Owns the list of everything that is broken on purpose.
 * Invariant: each entry breaks a promise of docs/job-lifecycle.md or of the limits, and none is there twice.
 */
import { ACCOUNT_MUTANTS } from "./account-mutants.ts";
import { DISPATCH_MUTANTS } from "./dispatch-mutants.ts";
import { DOMAIN_MUTANTS } from "./domain-mutants.ts";
import { FLEET_MUTANTS } from "./fleet-mutants.ts";
import { IDENTITY_MUTANTS } from "./identity-mutants.ts";
import type { Mutant } from "./mutant.ts";
import { REPLAY_MUTANTS } from "./replay-mutants.ts";
import { STORAGE_MUTANTS } from "./storage-mutants.ts";

export const MUTANTS: readonly Mutant[] = [
  ...DOMAIN_MUTANTS,
  ...ACCOUNT_MUTANTS,
  ...IDENTITY_MUTANTS,
  ...REPLAY_MUTANTS,
  ...STORAGE_MUTANTS,
  ...FLEET_MUTANTS,
  ...DISPATCH_MUTANTS,
];
