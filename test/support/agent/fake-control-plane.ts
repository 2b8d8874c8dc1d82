/**
 * Owns a small control plane for tests of the agent: HTTP, both sockets, a queue and a bucket, over real connections.
 * Invariant: it parses what the agent sends with the protocol's own schemas; a body that does not fit fails the test.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import {
  ackRequestSchema,
  type CompleteRequest,
  type ControlUp,
  claimRequestSchema,
  completeRequestSchema,
  controlUpSchema,
  failRequestSchema,
  pullRequestSchema,
  releaseRequestSchema,
  renewRequestSchema,
  stoppedRequestSchema,
  uploadsRequestSchema,
} from "../../../src/protocol/agent-api.ts";
import { type AgentFrame, agentFrameSchema } from "../../../src/protocol/progress.ts";
import { type FakeJob, FakeJobs, type Timing } from "./fake-jobs.ts";

export type Call = { route: string; body: unknown; at: number; status: number };
/** Decides about a call before it is served: a status to answer instead, `lose` to act and then cut the connection. */
export type Fault = (route: string, n: number) => number | "lose" | "hang" | null;

const TIMING: Timing = { lease_ms: 3_000, first_lease_ms: 1_000, renew_ms: 750, grace_ms: 500 };

export class FakeControlPlane {
  readonly url: string;
  readonly jobs: FakeJobs;
  readonly calls: Call[] = [];
  readonly hellos: ControlUp[] = [];
  readonly controlMessages: ControlUp[] = [];
  readonly frames: AgentFrame[] = [];
  readonly previews: Buffer[] = [];
  readonly bucket = new Map<string, { bytes: Buffer; headers: IncomingMessage["headers"] }>();
  readonly queue = new Map<string, string>();
  readonly control = new Set<WebSocket>();
  readonly progress = new Map<string, WebSocket>();
  fault: Fault = () => null;
  /**
   * As `fault`, for the nth PUT; `cut` breaks the connection after the first bytes of the body, `slow` is what S3 says of one that did
   * not come.
   */
  bucketFault: (n: number) => number | "lose" | "cut" | "hang" | "slow" | null = () => null;
  /** Refs answered to `known?`. */
  taken: string[] = [];
  acceptControl = true;
  acceptProgress = true;
  answerPings = true;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #counts = new Map<string, number>();
  #messages = 0;

  private constructor(server: Server, timing: Timing) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.url = `http://127.0.0.1:${port}`;
    this.jobs = new FakeJobs(timing, this.url);
    server.on("request", (request, response) => void this.#onRequest(request, response));
    server.on("upgrade", (request, socket, head) => this.#onUpgrade(request, socket, head));
  }

  static async start(timing: Partial<Timing> = {}): Promise<FakeControlPlane> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new FakeControlPlane(server, { ...TIMING, ...timing });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  offer(job: FakeJob, ahead = false): void {
    for (const socket of this.control) socket.send(JSON.stringify({ type: "offer", ref: this.jobs.refOf(job), ahead }));
  }

  ring(job: FakeJob): void {
    this.queue.set(`m${++this.#messages}`, JSON.stringify({ v: 1, ref: this.jobs.refOf(job) }));
  }

  /** As a client's cancel: by the socket when it is open, else by the next renewal. */
  cancel(job: FakeJob, push = true): void {
    job.canceling = true;
    if (push && job.lease) this.progress.get(job.lease)?.send(JSON.stringify({ type: "cancel" }));
  }

  tell(message: object): void {
    for (const socket of this.control) socket.send(JSON.stringify(message));
  }

  of(route: string): Call[] {
    return this.calls.filter((call) => call.route === route);
  }

  // --- HTTP ------------------------------------------------------------------------------------------------------------

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    if (path.startsWith("/bucket/")) return this.#onBucket(path, request, response);
    const bytes = await readAll(request);
    const route = path.replace(/^\/agent\/v1\//, "");
    const n = (this.#counts.get(route) ?? 0) + 1;
    this.#counts.set(route, n);
    const fault = this.fault(route, n);
    if (fault === "hang") return;
    const body: unknown = bytes.length > 0 ? JSON.parse(bytes.toString()) : null;
    const [status, answer] =
      typeof fault === "number" ? [fault, { error: "fault" }] : this.#answer(route, body, request);
    this.calls.push({ route, body, at: Date.now(), status });
    if (fault === "lose") return void request.socket.destroy();
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }

  #answer(route: string, body: unknown, request: IncomingMessage): [number, unknown] {
    if (route === "/ping") return [200, {}];
    if (request.headers.authorization === undefined || request.headers["x-agent-protocol"] !== "1") return [401, {}];
    switch (route) {
      case "claims": {
        const { ref, claim_id } = claimRequestSchema.parse(body);
        const answer = this.jobs.claim(ref, claim_id);
        return typeof answer === "string" ? [409, { refusal: answer }] : [200, answer];
      }
      case "queue/pull":
        return [200, this.#pull(pullRequestSchema.parse(body).batch_size ?? 5)];
      case "queue/ack":
        for (const { lease_id } of ackRequestSchema.parse(body).acks) this.queue.delete(lease_id);
        return [200, { success: true, result: {} }];
      default:
        return this.#lease(route.replace(/^leases\//, ""), body, String(request.headers["x-lease"]));
    }
  }

  #pull(batch: number) {
    const messages = [...this.queue].slice(0, batch).map(([id, body]) => ({ id, body, attempts: 1, lease_id: id }));
    return { success: true, result: { messages, message_backlog_count: this.queue.size } };
  }

  #lease(verb: string, body: unknown, lease: string): [number, unknown] {
    const job = this.jobs.held(lease);
    if (verb === "renew") {
      const request = renewRequestSchema.parse(body);
      return [200, job ? this.jobs.renew(job, request) : { answer: "lost", lease_expires_in_ms: 0 }];
    }
    const status = verb === "uploads" ? null : this.jobs.endedBy(lease);
    if (status !== null) return [200, { status }];
    if (!job) return [409, { refusal: "lease_lost" }];
    switch (verb) {
      case "uploads":
        return [200, this.#sign(job, body)];
      case "complete":
        job.completed = completeRequestSchema.parse(body);
        return [200, { status: this.jobs.end(job, this.#holds(job.completed) ? "succeeded" : "queued") }];
      case "fail":
        job.failed.push(failRequestSchema.parse(body));
        return [200, { status: this.jobs.end(job, job.failed.at(-1)?.transient ? "queued" : "failed") }];
      case "release":
        job.released.push(releaseRequestSchema.parse(body));
        return [200, { status: this.jobs.end(job, "queued") }];
      case "stopped":
        job.stopped.push(stoppedRequestSchema.parse(body));
        return [200, { status: this.jobs.end(job, "canceled") }];
      default:
        return [404, { error: "not_found" }];
    }
  }

  /** As the control plane does: what the bucket says of each file decides, not the agent. */
  #holds({ artifacts }: CompleteRequest): boolean {
    return artifacts.every(({ key, md5 }) => {
      const bytes = key === null ? null : this.bucket.get(key)?.bytes;
      return bytes === null || (bytes !== undefined && createHash("md5").update(bytes).digest("hex") === md5);
    });
  }

  #sign(job: FakeJob, body: unknown) {
    const uploads = uploadsRequestSchema.parse(body).files.map(({ name, content_type, size_bytes, md5 }, n) => {
      const key = `a7/${job.job}/${job.attempt}/${n}.bin`;
      const headers = {
        "content-type": content_type,
        "content-length": String(size_bytes),
        "content-md5": Buffer.from(md5, "hex").toString("base64"),
        "if-none-match": "*",
      };
      return { name, key, url: `${this.url}/bucket/${key}?sig=secret`, method: "PUT", headers };
    });
    return { uploads };
  }

  async #onBucket(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = path.replace(/^\/bucket\//, "").replace(/\?.*$/, "");
    if (request.method === "GET") {
      const found = this.bucket.get(key);
      response.writeHead(found ? 200 : 404).end(found?.bytes);
      return;
    }
    const n = (this.#counts.get("PUT") ?? 0) + 1;
    this.#counts.set("PUT", n);
    const fault = this.bucketFault(n);
    if (fault === "cut") return void request.once("data", () => request.socket.destroy());
    const bytes = await readAll(request);
    if (fault === "hang") return;
    if (fault === "slow") {
      this.calls.push({ route: "PUT", body: key, at: Date.now(), status: 400 });
      const said = "Your socket connection to the server was not read from or written to within the timeout period.";
      response.writeHead(400, { "content-type": "application/xml" });
      response.end(`<?xml version="1.0"?><Error><Code>RequestTimeout</Code><Message>${said}</Message></Error>`);
      return;
    }
    const md5 = createHash("md5").update(bytes).digest("base64");
    const fits = request.headers["content-md5"] === md5 && request.headers["if-none-match"] === "*";
    const status = typeof fault === "number" ? fault : this.bucket.has(key) ? 412 : fits ? 200 : 400;
    if (status === 200) this.bucket.set(key, { bytes, headers: request.headers });
    this.calls.push({ route: "PUT", body: key, at: Date.now(), status });
    if (fault === "lose") return void request.socket.destroy();
    response.writeHead(status).end();
  }

  // --- sockets ---------------------------------------------------------------------------------------------------------

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const isControl = request.url === "/agent/v1/control";
    if (isControl ? !this.acceptControl : !this.acceptProgress) {
      socket.end("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      if (isControl) this.#onControl(ws);
      else this.#onProgress(ws, String(request.headers["x-lease"]));
    });
  }

  #onControl(ws: WebSocket): void {
    this.control.add(ws);
    ws.on("close", () => this.control.delete(ws));
    ws.on("message", (data) => {
      if (String(data) === "ping") return void ws.send("pong");
      const message = controlUpSchema.parse(JSON.parse(String(data)));
      this.controlMessages.push(message);
      if (message.type === "hello") this.hellos.push(message);
      if (message.type === "known?")
        ws.send(JSON.stringify({ type: "taken", refs: message.refs.filter((ref) => this.taken.includes(ref)) }));
    });
  }

  #onProgress(ws: WebSocket, lease: string): void {
    this.progress.set(lease, ws);
    ws.on("message", (data, isBinary) => {
      if (isBinary) this.previews.push(Buffer.from(data as Buffer));
      else if (String(data) !== "ping") this.frames.push(agentFrameSchema.parse(JSON.parse(String(data))));
      else if (this.answerPings) ws.send("pong");
    });
  }
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}
