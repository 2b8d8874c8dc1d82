/**
 * Owns `demo -- crash`: an agent is killed in mid-run and another one rescues its job.
 * Invariant: nothing is lost and the rescued picture has the pixels of one that was never disturbed; else the demo fails.
 */
import { readFileSync } from "node:fs";
import sharp from "sharp";
import { pidPath, startAgent } from "../stack/agent.ts";
import { storedCredentials } from "../stack/credentials.ts";
import { killHard, startGuardian } from "../stack/guardian.ts";
import { DEFAULTS } from "../stack/stack.ts";
import { Api, type View } from "./api.ts";
import { DemoFailure, expectThat } from "./failure.ts";
import type { DemoOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { duration } from "./terminal.ts";

const DOOMED = "local-1";
const RESCUER = "crash-demo";

export async function crash(session: Session, options: DemoOptions): Promise<void> {
  const begun = performance.now();
  const api = new Api(session.stack);
  const guardian = startGuardian();
  const rescuer = await startAgent(
    {
      api: session.stack.api_url,
      controlUrl: session.stack.api_url,
      dataDir: session.dataDir,
      keys: storedCredentials(session.dataDir),
      guardian,
      comfyuiUrl: session.comfyuiUrl,
      say: () => undefined,
    },
    { name: RESCUER, env: {}, simulatorArgs: DEFAULTS.simulatorArgs },
  );
  try {
    await until(async () => (await api.agentsOnline()) >= 2, "a second agent comes online");
    console.log(`  two agents online: ${DOOMED}, ${RESCUER}`);
    await crashOne(session, options, api);
  } finally {
    await rescuer.stop();
    guardian.end();
  }
  console.log(`  in ${duration(performance.now() - begun)}`);
}

async function crashOne(session: Session, options: DemoOptions, api: Api): Promise<void> {
  // The same job twice, one on each agent: whichever agent dies, the other picture is the one to compare with.
  const body = JSON.stringify({ prompt: options.prompt, model: session.stack.model, steps: 30, seed: 42 });
  const jobs = await Promise.all([api.submit(body), api.submit(body)]);
  const running = jobs.map(() => Promise.withResolvers<void>());
  const watched = jobs.map((job, n) =>
    api.watch(job, (frame) => {
      if (frame.type === "progress" && (frame.progress ?? 0) >= 0.15) running[n]?.resolve();
    }),
  );
  const early = Promise.all(watched).then(() => {
    throw new DemoFailure("both jobs were over before an agent could be killed");
  });
  await Promise.race([Promise.all(running.map((r) => r.promise)), early]);
  early.catch(() => undefined);
  const pid = Number(readFileSync(pidPath(session.dataDir, DOOMED), "utf8"));
  expectThat(killHard(pid), `process ${pid} of ${DOOMED} was there to be killed`);
  const killed = performance.now();
  console.log(`  both draw the same picture; kill -9 ${pid} (${DOOMED}) in mid-run`);
  const views = await Promise.all(watched);
  const rescued = views.find((view) => view.receipt?.attempts === 2);
  const calm = views.find((view) => view.receipt?.attempts === 1);
  expectThat(
    views.every((view) => view.status === "succeeded"),
    "both jobs succeed",
  );
  expectThat(rescued !== undefined && calm !== undefined, "exactly one of the two needed a second attempt");
  console.log(
    `  ${rescued.job_id} rescued by ${rescued.receipt?.agent}, done ${duration(performance.now() - killed)} after the kill`,
  );
  const [a, b] = await Promise.all([pixels(api, rescued), pixels(api, calm)]);
  expectThat(a.equals(b), "the rescued picture has the same pixels");
  console.log("  the same pixels as the job that was never disturbed");
}

async function pixels(api: Api, view: View): Promise<Buffer> {
  const url = view.result?.artifacts[0]?.url ?? null;
  expectThat(url !== null, `${view.job_id} has a picture`);
  return sharp(await api.download(url))
    .raw()
    .toBuffer();
}

async function until(truth: () => Promise<boolean>, claim: string): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; ) {
    if (await truth()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new DemoFailure(`the demo expected that ${claim} within 10 s`);
}
