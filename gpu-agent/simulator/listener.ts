/**
 * Owns the port: listening, and the upgrade of a request to a socket.
 * Invariant: only /ws and /api/ws become sockets; any other upgrade is refused with an answer.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { Machine } from "./machine.ts";

/** Large enough for whatever a client may send; nothing but its first text is read. */
const MAX_MESSAGE_BYTES = 2 ** 26;

export function acceptSockets(server: Server, machine: () => Machine): void {
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES });
  server.on("upgrade", (request, socket, head) => {
    const [path = "", query = ""] = (request.url ?? "/").split("?");
    socket.on("error", () => socket.destroy());
    if (path !== "/ws" && path !== "/api/ws") {
      socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    const name = new URLSearchParams(query).get("clientId") ?? "";
    sockets.handleUpgrade(request, socket, head, (client) => machine().sockets.accept(client, name));
  });
}

/** The port it got. Rejects when the port is taken. */
export async function listen(server: Server, port: number, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}
