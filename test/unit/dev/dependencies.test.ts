/**
 * What a start says about queue, bucket and ComfyUI: what was seen on the wire, after at most five tries.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { checkpointOf, probe, probeBucket, probeComfyui, probeQueue } from "../../../dev/stack/dependencies.ts";

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});
async function serving(answer: (path: string) => { status: number; body?: unknown }): Promise<string> {
  const server = createServer((request, response) => {
    const { status, body } = answer(request.url ?? "");
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body ?? {}));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // listen() on a TCP port: the address is never a string here.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const closedPort = async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
};

// Side by side: each that finds nothing takes its five tries' time.
describe.concurrent("what a start leans on", () => {
  it("tries five times, then says that the connection was refused", async () => {
    const down = await probeComfyui(await closedPort());
    expect(down).toEqual({ name: "ComfyUI", ok: false, detail: "connection refused", tries: 5 });
  });

  it("stops trying at the first answer", async () => {
    let asked = 0;
    const url = await serving(() => ({ status: ++asked < 3 ? 503 : 200 }));
    expect(await probeComfyui(url)).toEqual({ name: "ComfyUI", ok: true, detail: "", tries: 3 });
  });

  it("says what the queue and the bucket answered, each for itself", async () => {
    const url = await serving((path) => ({ status: path.startsWith("/queue") ? 401 : 503 }));
    const vars = {
      QUEUE_API_BASE: `${url}/queue`,
      QUEUE_API_TOKEN: "t",
      R2_ENDPOINT: `${url}/s3`,
      R2_BUCKET: "b",
      R2_ACCESS_KEY_ID: "i",
      R2_SECRET_ACCESS_KEY: "s",
    };
    const [queue, bucket] = await Promise.all([probeQueue(vars), probeBucket(vars)]);
    expect(queue).toMatchObject({ name: "queue", ok: false, detail: "answered 401" });
    expect(bucket).toMatchObject({ name: "bucket", ok: false, detail: "answered 503" });
  });

  it("treats an exception of the question as an answer that is down", async () => {
    const down = await probe("thing", () => Promise.reject(new Error("not readable")));
    expect(down).toMatchObject({ ok: false, detail: "not readable", tries: 5 });
  });

  it("takes the first checkpoint that a ComfyUI lists, and none from one that does not answer", async () => {
    const url = await serving(() => ({ status: 200, body: ["a.safetensors", "b.safetensors"] }));
    expect(await checkpointOf(url)).toBe("a.safetensors");
    expect(await checkpointOf(await closedPort())).toBeNull();
  });
});
