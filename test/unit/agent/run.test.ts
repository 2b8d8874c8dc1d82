/** What an operator's agent does with jobs, seen from the control plane and from ComfyUI. */
import { afterEach, describe, expect, it } from "vitest";
import { MAX_MANIFEST_TEXT } from "../../../src/protocol/agent-api.ts";
import { isOver, type StageOptions, stage, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage, twoPictures } from "../../support/agent/workflows.ts";

let open: Awaited<ReturnType<typeof stage>> | null = null;
/** Leases that a busy machine does not end. */
const timing = { first_lease_ms: 20_000, lease_ms: 20_000, grace_ms: 20_000 };
async function ready(options: StageOptions = {}) {
  open = await stage({ timing, ...options });
  await open.idle();
  return open;
}
afterEach(async () => {
  await open?.close();
  open = null;
});

describe("a job that arrives by offer", () => {
  it("is claimed, run, uploaded and completed with every output in the order of its nodes", async () => {
    const { plane } = await ready();
    const job = plane.jobs.add(twoPictures());
    plane.offer(job);
    await until(() => isOver(job));
    expect(job.status).toBe("succeeded");
    const artifacts = job.completed?.artifacts ?? [];
    expect(
      artifacts.map(({ node_id, name, type, content_type, width, height }) => [
        node_id,
        name,
        type,
        content_type,
        width,
        height,
      ]),
    ).toEqual([
      ["2", "first_00001_.png", "image", "image/png", 64, 48],
      ["4", "second_00001_.png", "image", "image/png", 64, 48],
    ]);
    for (const { key, size_bytes } of artifacts) expect(plane.bucket.get(key ?? "")?.bytes.length).toBe(size_bytes);
  });

  it("shows at least ten growing values of progress over twenty steps, and never the whole", async () => {
    const { plane } = await ready({ simulator: { stepMs: 40 } });
    const job = plane.jobs.add(textToImage({ steps: 20 }));
    plane.offer(job);
    await until(() => isOver(job));
    const values = plane.frames.flatMap((frame) => (frame.type === "progress" ? [frame.progress] : []));
    expect(new Set(values).size).toBeGreaterThanOrEqual(10);
    expect(values).toEqual(values.toSorted((a, b) => a - b));
    expect(Math.max(...values)).toBeLessThan(1);
    await until(() => plane.frames.at(-1)?.type === "done");
  });

  it("brings text home without a file", async () => {
    const { plane } = await ready();
    const job = plane.jobs.add(onlyText());
    plane.offer(job);
    await until(() => isOver(job));
    expect(job.completed?.artifacts).toMatchObject([{ type: "text", text: "hello world", key: null, node_id: "2" }]);
    expect(plane.bucket.size).toBe(0);
  });

  it("brings text home as a file where it is longer than a manifest may hold", async () => {
    const { plane } = await ready();
    const job = plane.jobs.add(onlyText("x".repeat(MAX_MANIFEST_TEXT)));
    plane.offer(job);
    await until(() => isOver(job));
    const [artifact] = job.completed?.artifacts ?? [];
    expect(artifact).toMatchObject({ type: "text", content_type: "text/plain", text: null, node_id: "2" });
    const file = plane.bucket.get(artifact?.key ?? "");
    expect(file?.bytes.length).toBe(MAX_MANIFEST_TEXT + " world".length);
  });
});

describe("the progress socket", () => {
  it("F62: says where the run stands on each new connection, though ComfyUI is silent meanwhile", async () => {
    const { plane } = await ready({ simulator: { stepMs: 2_500 } });
    const job = plane.jobs.add(textToImage({ steps: 2 }));
    plane.offer(job);
    const inSampler = () => plane.frames.findLast((frame) => frame.type === "progress");
    await until(() => inSampler()?.progress_detail.current_node_type === "KSampler");
    const [before, heard] = [inSampler(), plane.frames.length];
    plane.progress.get(job.lease ?? "")?.terminate();
    await until(() => plane.frames.length > heard);
    const again = plane.frames[heard];
    expect(again).toMatchObject({ progress: before?.progress, progress_detail: before?.progress_detail });
    expect(again?.n).toBeGreaterThan(before?.n ?? 0);
  });
});
