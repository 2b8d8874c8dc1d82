/** Calls to one origin: each has a limit, and no limit makes a call fail by itself. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HttpOrigin } from "../../../gpu-agent/http-origin.ts";

let server: Server;
let origin: HttpOrigin;
beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url !== "/hang") response.end("yes");
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
