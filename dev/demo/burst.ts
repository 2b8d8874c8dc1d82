/**
 * Owns `demo -- burst`: eight jobs at once for one end user who may have five.
 * Invariant: exactly five are accepted, three refused with 429, and all accepted ones end; else the demo fails.
 */
import { randomUUID } from "node:crypto";
import { Api } from "./api.ts";
import { expectThat } from "./failure.ts";
import type { DemoOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { duration } from "./terminal.ts";

const JOBS = 8;
const LIMIT = 5;

export async function burst(session: Session, options: DemoOptions): Promise<void> {
  const begun = performance.now();
  // A new end user each time: nothing of an earlier burst counts against it.
  const api = new Api(session.stack, `burst-${randomUUID().slice(0, 8)}`);
  console.log(`  ${JOBS} jobs at once for one end user, who may have ${LIMIT} that are not over\n`);
  const answers = await Promise.all(
    Array.from({ length: JOBS }, (_, n) =>
      api.trySubmit(JSON.stringify({ prompt: options.prompt, model: session.stack.model, steps: 8, seed: n + 1 })),
    ),
  );
  const ends = await Promise.all(answers.map((answer) => ("code" in answer ? null : api.watch(answer))));
  console.log("  #  answer  job              ended        after");
  for (const [n, answer] of answers.entries()) {
    const end = ends[n];
    const total = end?.receipt ? duration(end.receipt.queue_ms + end.receipt.run_ms) : "";
    if ("code" in answer) console.log(`  ${n + 1}  ${answer.status}     ${answer.code}`);
    else console.log(`  ${n + 1}  202     ${answer.job_id}   ${(end?.status ?? "").padEnd(11)}  ${total}`);
  }
  const refused = answers.filter((answer) => "code" in answer);
  expectThat(
    answers.length - refused.length === LIMIT,
    `${LIMIT} jobs are accepted, not ${answers.length - refused.length}`,
  );
  expectThat(
    refused.every((answer) => answer.status === 429 && answer.code === "CONCURRENCY_LIMIT"),
    "the others are refused with 429 CONCURRENCY_LIMIT",
  );
  expectThat(
    ends.every((end) => end === null || end.status === "succeeded"),
    "every accepted job succeeds",
  );
  console.log(`\n  ${LIMIT} accepted, ${JOBS - LIMIT} refused, all ended, in ${duration(performance.now() - begun)}`);
}
