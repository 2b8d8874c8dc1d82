/**
 * Owns the difference between what a person can put right and a bug of ours.
 * Invariant: a DemoFailure is shown as one line and exit code 1, never with a stack.
 */
export class DemoFailure extends Error {
  override readonly name = "DemoFailure";
}

/** What a scenario asserts about its own output. */
export function expectThat(truth: boolean, claim: string): asserts truth {
  if (!truth) throw new DemoFailure(`the demo expected that ${claim}`);
}
