/**
 * Holds artifacts over the whole system: what a manifest says is what a link gives, as it was fixed at the upload, until it is gone.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { picture } from "../support/client.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";

const SMALL = { steps: 1, width: 64, height: 64 };
const CANARY = "canary-prompt-5e1f";

let stack: FlowStack;

beforeAll(async () => {
  stack = await startFlowStack({ stepMs: 1 });
});
afterAll(() => stack.stop());

const artifactSchema = z.object({
  index: z.number(),
  url: z.string(),
  sha256: z.string(),
  size_bytes: z.number(),
  content_type: z.string(),
  key: z.string(),
});
const viewSchema = z.object({
  result: z.object({ artifacts: z.array(artifactSchema).min(1) }),
  timestamps: z.object({ finished_at: z.string(), expires_at: z.string() }),
});

async function finished(role = "internal", body: object = picture(SMALL)) {
  const client = await stack.newClient(role);
  const { job_id } = await client.submit(body);
  expect(await client.over(job_id)).toMatchObject({ status: "succeeded" });
  const read = async () => viewSchema.parse((await client.call("GET", `/api/v1/jobs/${job_id}`)).body);
  return { client, job_id, read, view: await read() };
}

/** The answer of our own route, its redirect not followed. */
function fetched(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers, redirect: "manual" });
}

describe("an artifact", () => {
  it("is the bytes its manifest names, without the prompt that made it (I30, I35)", async () => {
    const { view } = await finished("internal", picture({ ...SMALL, prompt: CANARY }));
    for (const { url, sha256, size_bytes } of view.result.artifacts) {
      const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
      expect({ size: bytes.length, hash: createHash("sha256").update(bytes).digest("hex") }).toEqual({
        size: size_bytes,
        hash: sha256,
      });
      expect(bytes.includes(CANARY)).toBe(false);
    }
  });

  it("is stored with the type and name that were signed for it, and read in parts by its link (I34)", async () => {
    const { client, job_id, view } = await finished();
    const [{ size_bytes }] = view.result.artifacts as [z.infer<typeof artifactSchema>];
    const sent = await client.call("GET", `/api/v1/jobs/${job_id}/artifacts/0`, { redirect: "manual" });
    expect(sent.status).toBe(302);
    const link = sent.headers.get("Location") ?? "";
    expect(new URL(link).searchParams.get("X-Amz-Expires")).toBe("86400");
    const part = await fetched(link, { Range: "bytes=1-3" });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).toString()).toBe("PNG");
    expect(part.headers.get("Content-Range")).toBe(`bytes 1-3/${size_bytes}`);
    expect(part.headers.get("Content-Type")).toBe("image/png");
    expect(part.headers.get("Content-Disposition")).toMatch(/^inline; filename="[A-Za-z0-9._ -]+\.png"$/);
    expect((await fetched(link, { Range: `bytes=${size_bytes}-` })).status).toBe(416);
  });

  it("is linked for as long as the role says, and kept in its class", async () => {
    const { view } = await finished("free");
    const [{ url, key }] = view.result.artifacts as [z.infer<typeof artifactSchema>];
    expect(new URL(url).searchParams.get("X-Amz-Expires")).toBe("3600");
    expect(key.startsWith("a7/")).toBe(true);
    const { finished_at, expires_at } = view.timestamps;
    expect(Date.parse(expires_at) - Date.parse(finished_at)).toBe(7 * 86_400_000);
  });

  it("is gone with the data of its job, for every link that was ever given (F96)", async () => {
    const { client, job_id, read, view } = await finished();
    const [{ url }] = view.result.artifacts as [z.infer<typeof artifactSchema>];
    expect((await client.call("DELETE", `/api/v1/jobs/${job_id}/data`)).status).toBe(204);
    await vi.waitUntil(async () => (await fetched(url)).status === 404, { timeout: 15_000, interval: 100 });
    await expect(read()).rejects.toThrow();
    expect((await client.call("GET", `/api/v1/jobs/${job_id}/artifacts/0`, { redirect: "manual" })).status).toBe(404);
  });
});
