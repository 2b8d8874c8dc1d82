/** Calls to one origin: each has a limit, and no limit makes a call fail by itself. */
import { getEventListeners } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HttpOrigin } from "../../../gpu-agent/http-origin.ts";

let server: Server;
let origin: HttpOrigin;
beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === "/hang") return;
    if (request.url === "/cut") {
      response.writeHead(200, { "content-length": "100" }).write("half");
      setImmediate(() => response.destroy());
    } else if (request.url === "/chunks") {
      response.write("y");
      response.end("es");
    } else response.end("yes");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  origin = new HttpOrigin(`http://127.0.0.1:${port}`);
});
afterAll(async () => {
  await origin.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it("a limit that is a fraction of a lease and no whole millisecond does not break the call", async () => {
  expect(await origin.call("GET", "here", { timeout_ms: 4_999.75 })).toMatchObject({ status: 200, text: "yes" });
});

it("a call that nobody answers ends at its limit as a timeout", async () => {
  await expect(origin.call("GET", "hang", { timeout_ms: 50.5 })).rejects.toMatchObject({ kind: "timeout" });
});

it("a call that its caller gives up ends at once as aborted, and one given up before it began is never sent", async () => {
  const own = new AbortController();
  const hanging = origin.call("GET", "hang", { signal: own.signal });
  own.abort();
  await expect(hanging).rejects.toMatchObject({ kind: "aborted" });
  await expect(origin.call("GET", "here", { signal: own.signal })).rejects.toMatchObject({ kind: "aborted" });
});

it("a call leaves nothing on a signal that outlives it", async () => {
  const { signal } = new AbortController();
  await origin.call("GET", "here", { signal });
  await origin.call("GET", "cut", { signal }).catch(() => undefined);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

it.each(["here", "chunks"])(
  "an answer over the limit is refused, whether or not its length was told (%s)",
  async (path) => {
    expect(await origin.call("GET", path, { max_bytes: 3 })).toMatchObject({ text: "yes" });
    await expect(origin.call("GET", path, { max_bytes: 2 })).rejects.toMatchObject({ kind: "too_large" });
  },
);

it("an answer that breaks off in the middle is no answer", async () => {
  await expect(origin.call("GET", "cut")).rejects.toMatchObject({ kind: "cut" });
});
