/**
 * Owns the bare baseline: a Hono route, an object, one insert or one read. What the platform costs before we add a line.
 * Invariant: does the least that a durable write or read needs: no checks, no drizzle, no second row.
 */
import { DurableObject } from "cloudflare:workers";
import { Hono } from "hono";

type Bindings = { BARE: DurableObjectNamespace<BareObject>; FAN: DurableObjectNamespace<FanObject> };

export class BareObject extends DurableObject {
  readonly #sql: SqlStorage;
  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env as Bindings);
    this.#sql = ctx.storage.sql;
    this.#sql.exec("CREATE TABLE IF NOT EXISTS row (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID");
  }
  insert(id: string, body: string): string {
    this.#sql.exec("INSERT INTO row (id, body) VALUES (?, ?)", id, body);
    return id;
  }
  read(id: string): string | null {
    for (const row of this.#sql.exec<{ body: string }>("SELECT body FROM row WHERE id = ?", id)) return row.body;
    return null;
  }
}

/** Passes each text on to every other socket: what a fan-out costs before a frame is parsed, numbered or checked. */
export class FanObject extends DurableObject {
  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [new URL(request.url).searchParams.get("role") ?? "viewer"]);
    return new Response(null, { status: 101, webSocket: client });
  }
  override webSocketMessage(_: WebSocket, message: string | ArrayBuffer): void {
    for (const viewer of this.ctx.getWebSockets("viewer")) viewer.send(message);
  }
}

const app = new Hono<{ Bindings: Bindings }>();

app.post("/:account/rows", async (c) => {
  const body = await c.req.text();
  const stub = c.env.BARE.get(c.env.BARE.idFromName(c.req.param("account")));
  return c.json({ id: await stub.insert(crypto.randomUUID(), body) }, 202);
});

app.get("/:account/rows/:id", async (c) => {
  const stub = c.env.BARE.get(c.env.BARE.idFromName(c.req.param("account")));
  const body = await stub.read(c.req.param("id"));
  return body === null ? c.json({}, 404) : c.json({ id: c.req.param("id"), body });
});

app.get("/:name/fan", (c) => c.env.FAN.get(c.env.FAN.idFromName(c.req.param("name"))).fetch(c.req.raw));

export default app;
