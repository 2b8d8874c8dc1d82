/**
 * Owns a TCP proxy that a test can break: whole, or only connections whose first request matches.
 * Invariant: bytes pass unchanged, the Host header too, so that URLs signed for the proxy's address stay valid behind it.
 *
 * Limit: only the first request of a connection is looked at. A WebSocket always has a connection of its own.
 */
import { createServer, connect as dial, type Socket } from "node:net";

export type Wire = {
  readonly url: string;
  /** Refuses from now on, and cuts what is open: every connection, or those whose first request line matches. */
  cut(pattern?: RegExp): void;
  heal(): void;
  /** Connections seen whose first request line matches. */
  seen(pattern: RegExp): number;
  close(): Promise<void>;
};

type Link = { requestLine: string; end(): void };

export async function startWire(target: string): Promise<Wire> {
  const { hostname, port } = new URL(target);
  const links = new Set<Link>();
  const lines: string[] = [];
  let refused: RegExp | null = null;
  const server = createServer((client: Socket) => {
    const link: Link = { requestLine: "", end: () => client.destroy() };
    links.add(link);
    client.on("error", () => undefined).on("close", () => links.delete(link));
    client.once("data", (first) => {
      link.requestLine = first.toString("latin1").split("\r\n", 1)[0] ?? "";
      lines.push(link.requestLine);
      if (refused?.test(link.requestLine)) return client.destroy();
      const upstream = dial(Number(port), hostname, () => {
        upstream.write(first);
        client.pipe(upstream);
        upstream.pipe(client);
      });
      upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
      client.on("close", () => upstream.destroy());
    });
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("a TCP server has a port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut(pattern = /^/) {
      refused = pattern;
      for (const link of links) if (pattern.test(link.requestLine)) link.end();
    },
    heal() {
      refused = null;
    },
    seen: (pattern) => lines.filter((line) => pattern.test(line)).length,
    close: () =>
      new Promise((resolve) => {
        for (const link of links) link.end();
        server.close(() => resolve());
      }),
  };
}
