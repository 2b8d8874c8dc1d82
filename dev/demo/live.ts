/**
 * Owns `demo -- live`: a long job to watch in a browser, and a stack that stays until Ctrl-C.
 * Invariant: the address it prints works as long as it runs; each further job begins only when the one before is over.
 */
import { Api } from "./api.ts";
import type { DemoOptions } from "./options.ts";
import { livePage, type Session } from "./session.ts";

const STEPS = 150;

export async function live(session: Session, options: DemoOptions): Promise<void> {
  const api = new Api(session.stack);
  const drawn = { prompt: options.prompt, model: session.stack.model, steps: STEPS, width: 768, height: 512 };
  const body = options.workflow === null ? JSON.stringify(drawn) : `{"workflow": ${options.workflow}}`;
  const job = await api.submit(body);
  console.log(`  ${job.job_id}, ${options.workflow === null ? `${STEPS} steps` : "your workflow"}\n`);
  console.log(`  ${livePage(session.stack, job.job_id)}\n`);
  const view = await api.watch(job);
  console.log(
    `  ${view.status}; the page stays, and its button runs the job again. Ctrl-C ends ${session.stays ? "this demo" : "the stack"}.`,
  );
  await new Promise(() => setInterval(() => undefined, 60_000));
}
