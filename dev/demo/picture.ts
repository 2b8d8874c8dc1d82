/**
 * Owns the demo without a scenario: jobs in, pictures out, with live progress.
 * Invariant: what it prints comes from the API's own answers; a job that did not succeed ends the demo with its error.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { type Accepted, Api, type View } from "./api.ts";
import { DemoFailure } from "./failure.ts";
import type { DemoOptions } from "./options.ts";
import { livePage, type Session } from "./session.ts";
import { drawsColor, duration, halfBlocks, ProgressLine } from "./terminal.ts";

const EXTENSIONS: Record<string, string> = {
  "image/png": "png",
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "video/mp4": "mp4",
};

export async function picture(session: Session, options: DemoOptions): Promise<void> {
  const api = new Api(session.stack);
  const bodies = Array.from({ length: options.count }, (_, n) => bodyOf(session, options, n));
  const accepted = await Promise.all(bodies.map((body) => api.submit(body)));
  console.log(
    `  ${options.workflow === null ? `“${options.prompt}”` : "your workflow"} · ${accepted.map((a) => a.job_id).join(" ")}`,
  );
  const [first] = accepted;
  if (first)
    console.log(
      `  live in a browser${session.stays ? "" : ", while this demo runs"}: ${livePage(session.stack, first.job_id)}`,
    );
  const views = await watchAll(api, accepted);
  const paths: string[] = [];
  for (const [n, view] of views.entries()) paths.push(...(await save(api, session, view, n === 0)));
  for (const path of paths) console.log(`  ${relative(process.cwd(), path)}`);
  for (const [n, view] of views.entries()) console.log(`  ${timeline(accepted[n]?.accepted_ms ?? 0, view)}`);
  console.log(next(session, options));
}

function bodyOf(session: Session, options: DemoOptions, n: number): string {
  // A workflow is spliced in as text: integers beyond 2^53 must not pass through JavaScript numbers.
  if (options.workflow !== null) return `{"workflow": ${options.workflow}}`;
  const drawn = { prompt: options.prompt, model: session.stack.model, steps: 20, width: 512, height: 512 };
  return JSON.stringify({ ...drawn, ...(n === 0 ? {} : { seed: 1000 + n }) });
}

async function watchAll(api: Api, accepted: Accepted[]): Promise<View[]> {
  const line = new ProgressLine(accepted.length === 1 ? "" : `${accepted.length} jobs`);
  const progress = accepted.map(() => 0);
  const views = await Promise.all(
    accepted.map((job, n) =>
      api.watch(job, (frame) => {
        progress[n] = Math.max(progress[n] ?? 0, frame.progress ?? 0);
        const mean = progress.reduce((sum, value) => sum + value, 0) / progress.length;
        line.show({ ...frame, progress: mean });
      }),
    ),
  );
  line.show({ type: "status", progress: 1 });
  line.end(views.every((view) => view.status === "succeeded") ? "done" : "ended");
  for (const view of views)
    if (view.status !== "succeeded")
      throw new DemoFailure(
        `${view.job_id} ended ${view.status}: ${view.error?.code ?? ""} ${view.error?.message ?? ""}`,
      );
  return views;
}

async function save(api: Api, session: Session, view: View, draw: boolean): Promise<string[]> {
  const folder = join(session.dataDir, "pictures");
  mkdirSync(folder, { recursive: true });
  const paths: string[] = [];
  for (const [index, artifact] of (view.result?.artifacts ?? []).entries()) {
    if (artifact.url === null) continue;
    const bytes = await api.download(artifact.url);
    const path = join(folder, `${view.job_id}-${index}.${EXTENSIONS[artifact.content_type] ?? "bin"}`);
    writeFileSync(path, bytes);
    if (draw && paths.length === 0 && artifact.content_type.startsWith("image/") && drawsColor())
      console.log(`\n${await halfBlocks(bytes, process.stdout.columns ?? 80)}\n`);
    paths.push(path);
  }
  if (paths.length === 0) throw new DemoFailure(`${view.job_id} succeeded without a file`);
  return paths;
}

function timeline(acceptedMs: number, view: View): string {
  const { receipt } = view;
  if (!receipt) return "done";
  return [
    `queued ${duration(acceptedMs)}`,
    `claimed ${duration(receipt.queue_ms)}`,
    `run ${duration(receipt.load_ms + receipt.run_ms)}`,
    `upload ${duration(receipt.upload_ms)}`,
    "done",
  ].join(" · ");
}

function next(session: Session, options: DemoOptions): string {
  const flag = options.dataDir === ".data" ? "" : ` --data ${options.dataDir}`;
  return [
    "",
    "  Next:",
    `    npm run demo -- live${flag}                  watch a job in a browser: bar, preview, picture`,
    `    npm run demo -- crash${flag}                 kill an agent in mid-run, watch another one rescue the job`,
    session.comfyuiUrl === null
      ? `    COMFYUI_URL=http://127.0.0.1:8188 npm run demo${flag === "" ? "" : ` --${flag}`}   the same with your own ComfyUI`
      : `    npm run demo -- --workflow FILE${flag}       your own workflow in API format`,
    `    npm start${flag === "" ? "" : ` --${flag}`}                             keep it running: API, docs, keys for curl`,
  ].join("\n");
}
