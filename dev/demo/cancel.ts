/**
 * Owns `demo -- cancel`: a job stopped in mid-run.
 * Invariant: the job ends `canceled`, nothing of it becomes visible, and the GPU was seen idle; else the demo fails.
 */
import { Api } from "./api.ts";
import { expectThat } from "./failure.ts";
import type { DemoOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { duration, ProgressLine } from "./terminal.ts";

const STEPS = 100;
/** Far enough that the GPU is at work, far from the end. */
const CANCEL_AT = 0.2;

export async function cancel(session: Session, options: DemoOptions): Promise<void> {
  const api = new Api(session.stack);
  const seed = Math.floor(Math.random() * 2 ** 32);
  const job = await api.submit(
    JSON.stringify({ prompt: options.prompt, model: session.stack.model, steps: STEPS, seed }),
  );
  console.log(`  ${job.job_id}, ${STEPS} steps, canceled at ${CANCEL_AT * 100} %`);
  const line = new ProgressLine("");
  const asked: { at: number; status: Promise<number> }[] = [];
  const view = await api.watch(job, (frame) => {
    line.show(frame);
    if (asked.length === 0 && frame.type === "progress" && (frame.progress ?? 0) >= CANCEL_AT)
      asked.push({ at: performance.now(), status: api.cancel(job.job_id) });
  });
  const endedAt = performance.now();
  line.end(view.status);
  const [request] = asked;
  expectThat(request !== undefined, "the job was at work when it was canceled");
  expectThat((await request.status) === 202, "the cancel is answered 202");
  expectThat(view.status === "canceled", `the job ends canceled, not ${view.status}`);
  expectThat(view.result === null, "no result of a canceled job is visible");
  const idle = view.receipt?.gpu_idle_after_cancel_ms ?? null;
  expectThat(idle !== null, "the agent reported when the GPU was idle");
  console.log(
    `  GPU idle ${duration(idle)} after the cancel · over ${duration(endedAt - request.at)} after the request`,
  );
}
