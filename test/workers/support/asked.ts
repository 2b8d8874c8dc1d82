/**
 * Owns what a run of the tests was asked for: long repeats, and how many random lives from which seed.
 * Invariant: comes through vitest's own channel; environment variables baked into a module would outlive the run in its cache.
 */
import { inject } from "vitest";

export type Asked = {
  /** `LONG=1`: the repeats that `npm test` has no time for. */
  readonly long: boolean;
  /** `MODEL_RUNS`; `MODEL_SEED`, `MODEL_PATH`, `MODEL_REPLAY` as a failure printed them. Seed null: any. */
  readonly model: {
    readonly runs: number;
    readonly seed: number | null;
    readonly path: string;
    readonly replay: string;
  };
  /** `FUZZ_RUNS` requests to each operation, drawn from `FUZZ_SEED`; by default from the time of the run. */
  readonly fuzz: { readonly runs: number; readonly seed: number };
};

declare module "vitest" {
  interface ProvidedContext {
    asked: Asked;
  }
}

export function asked(): Asked {
  return inject("asked");
}
