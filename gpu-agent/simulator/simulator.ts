/**
 * Owns the simulator as a whole: the listener, and the machine behind it, which may die and come back.
 * Invariant: after `close` nothing of it is left open, and no timer of it keeps a process alive.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { Faults } from "./faults.ts";
import { createHttpServer, type Routes } from "./http-server.ts";
import { Machine } from "./machine.ts";
import { completeOptions, type SimulatorOptions } from "./options.ts";
import { fileRoutes } from "./routes/file-routes.ts";
import { promptRoutes } from "./routes/prompt-routes.ts";
import { statusRoutes } from "./routes/status-routes.ts";
import { Timeline } from "./timeline.ts";
import { work } from "./worker.ts";

export type Simulator = {
  url: string;
  port: number;
  options: SimulatorOptions;
  faults: Faults;
  timeline: Timeline;
  close(): Promise<void>;
};

/** Starts one in this process. Without options: a free port, folders of its own, the older line. */
export async function startSimulator(given: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const options = completeOptions(given);
  const faults = new Faults();
  const timeline = new Timeline();
  const machine = new Machine(options, faults, timeline);
  void work(machine);
  const server = createHttpServer(
    routesFor(() => machine),
    () => options.maxUploadBytes,
    async () => null,
  );
  acceptSockets(server, () => machine);
  const port = await listen(server, options.port, options.host);
  return {
    url: `http://${options.host}:${port}`,
    port,
    options,
    faults,
    timeline,
    async close() {
      machine.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function routesFor(machine: () => Machine): Routes {
  return { ...promptRoutes(machine), ...fileRoutes(machine), ...statusRoutes(machine) };
}

function acceptSockets(server: Server, machine: () => Machine): void {
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 2 ** 26 });
  server.on("upgrade", (request, socket, head) => {
    const url = new URL(request.url ?? "/", "http://simulator");
    if (url.pathname !== "/ws" && url.pathname !== "/api/ws") {
      socket.destroy();
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      machine().sockets.accept(client, url.searchParams.get("clientId") ?? "");
    });
  });
}

async function listen(server: Server, port: number, host: string): Promise<number> {
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
