/**
 * Owns a webhook target as a customer would run it: a plain HTTP server that verifies with the `standardwebhooks` package,
 * and behaves as badly as its script says.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Webhook } from "standardwebhooks";
import { z } from "zod";

/** `hang` never answers, `reset` cuts the connection, `drip` answers 200 and never ends its body. A number is a status. */
export type Behaviour = number | "hang" | "reset" | "drip" | "redirect";

export type Received = {
  readonly path: string;
  readonly id: string;
  readonly timestamp: number;
  readonly body: string;
  /** The first of `secrets` that verified it; null: none did. */
  readonly verifiedBy: string | null;
  readonly behaviour: Behaviour;
  readonly at: number;
};

const headersSchema = z.looseObject({
  "webhook-id": z.string(),
  "webhook-timestamp": z.string().regex(/^\d+$/),
  "webhook-signature": z.string(),
});

export class Receiver {
  readonly received: Received[] = [];
  /** What the receiver knows, the newest first. */
  secrets: string[] = [];
  /** What a request is met with: its path, its id, how often that id has come to that path before. */
  script: (path: string, id: string, before: number) => Behaviour | Promise<Behaviour> = () => 200;
  readonly #server: Server;
  #port = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("the receiver has no port");
    this.#port = address.port;
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.#port}${path}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Those of one path, in the order they came. */
  at(path: string): Received[] {
    return this.received.filter((one) => one.path === path);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now();
    const path = request.url ?? "";
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks).toString("utf8");
    const headers = headersSchema.parse(request.headers);
    const id = headers["webhook-id"];
    const before = this.at(path).filter((one) => one.id === id).length;
    const behaviour = await this.script(path, id, before);
    const verifiedBy = this.#verifiedBy(body, headers);
    const timestamp = Number(headers["webhook-timestamp"]);
    this.received.push({ path, id, timestamp, body, verifiedBy, behaviour, at });
    this.#behave(behaviour, response);
  }

  #verifiedBy(body: string, headers: z.infer<typeof headersSchema>): string | null {
    const good = this.secrets.find((secret) => {
      try {
        new Webhook(secret).verify(body, {
          "webhook-id": headers["webhook-id"],
          "webhook-timestamp": headers["webhook-timestamp"],
          "webhook-signature": headers["webhook-signature"],
        });
        return true;
      } catch {
        return false;
      }
    });
    return good ?? null;
  }

  #behave(behaviour: Behaviour, response: ServerResponse): void {
    if (behaviour === "hang") return;
    if (behaviour === "reset") response.socket?.resetAndDestroy();
    else if (behaviour === "redirect") response.writeHead(307, { Location: this.url("/redirected") }).end();
    else if (behaviour === "drip") response.writeHead(200).write("still ");
    else response.writeHead(behaviour, { "Retry-After": "0" }).end("{}");
  }
}
