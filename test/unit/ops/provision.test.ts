/**
 * Holds provisioning to its promise against an account that behaves as Cloudflare's API does: made once, never twice.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { provision } from "../../../ops/provision/main.ts";

type Call = { method: string; path: string; body: Record<string, unknown> };

/** An account in memory; every list has pages of one, so that a client that reads only the first page is noticed. */
class CloudAccount {
  readonly calls: Call[] = [];
  readonly queues: { queue_id: string; queue_name: string; consumers: Record<string, unknown>[] }[] = [];
  readonly buckets = new Map<string, Record<string, unknown[]>>();
  readonly databases: { uuid: string; name: string }[] = [];
  readonly secrets: { name: string }[] = [];

  answer({ method, path, body }: Call, page: number): { status: number; result: unknown; pages?: number } {
    const [first, second, third, fourth] = path.split("/");
    if (first === "queues") return this.queueAnswer(method, body, page, [second, third, fourth]);
    if (first === "d1") return this.listOrAdd(method, this.databases, { uuid: "db-1", name: String(body.name) }, page);
    if (first === "workers") return { status: 200, result: this.secrets };
    if (path === "r2/buckets" && method === "GET")
      return { status: 200, result: { buckets: [...this.buckets.keys()].map((name) => ({ name })) } };
    if (path === "r2/buckets") {
      this.buckets.set(String(body.name), {});
      return { status: 200, result: {} };
    }
    const bucket = this.buckets.get(String(third)) ?? {};
    if (method === "PUT") bucket[String(fourth)] = body.rules as unknown[];
    const rules = bucket[String(fourth)];
    return rules ? { status: 200, result: { rules } } : { status: 404, result: null };
  }

  private queueAnswer(method: string, body: Call["body"], page: number, rest: (string | undefined)[]) {
    const [id, , consumer] = rest;
    if (id === undefined) {
      const made = { queue_id: `q-${this.queues.length}`, queue_name: String(body.queue_name), consumers: [] };
      return this.listOrAdd(method, this.queues, made, page);
    }
    const queue = this.queues.find(({ queue_id }) => queue_id === id);
    if (!queue) return { status: 404, result: null };
    if (method === "POST") queue.consumers.push({ consumer_id: "c-1", ...body });
    if (method === "PUT") queue.consumers = [{ ...body, consumer_id: consumer }];
    return { status: 200, result: queue.consumers };
  }

  private listOrAdd<T>(method: string, list: T[], made: T, page: number) {
    if (method === "GET") return { status: 200, result: list.slice(page - 1, page), pages: list.length };
    list.push(made);
    return { status: 200, result: made };
  }
}

let account: CloudAccount;
let server: Server;
let env: NodeJS.ProcessEnv;
const TOKEN = "canary-token";

beforeEach(async () => {
  account = new CloudAccount();
  server = createServer(async (request, response) => {
    const url = new URL(String(request.url), "http://127.0.0.1");
    const call = {
      method: String(request.method),
      path: url.pathname.replace("/accounts/acc/", ""),
      body: await bodyOf(request),
    };
    if (call.method !== "GET") account.calls.push(call);
    const isKnown = request.headers.authorization === `Bearer ${TOKEN}`;
    const refused = { status: 403, result: null, pages: 1 };
    const { status, result, pages } = {
      pages: 1,
      ...(isKnown ? account.answer(call, Number(url.searchParams.get("page") ?? 1)) : refused),
    };
    const errors = status === 200 ? [] : [{ code: 10_000, message: "Authentication error" }];
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ success: status === 200, errors, result, result_info: { total_pages: pages } }));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  env = { CLOUDFLARE_ACCOUNT_ID: "acc", CLOUDFLARE_API_TOKEN: TOKEN, CLOUDFLARE_API_BASE: base };
});
afterEach(() => new Promise((closed) => server.close(closed)));

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return parts.length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString());
}

async function run(...argv: string[]): Promise<string> {
  const lines: string[] = [];
  await provision(argv, env, (line) => lines.push(line));
  return lines.join("\n");
}

describe("provisioning", () => {
  it("makes queues, pull consumer, bucket, rules and database once, and finds nothing to make the second time", async () => {
    const first = await run();
    expect(account.queues.map(({ queue_name }) => queue_name).sort()).toEqual([
      "jobs-default",
      "jobs-default-dlq",
      "webhooks",
      "webhooks-dlq",
    ]);
    const jobs = account.queues.find(({ queue_name }) => queue_name === "jobs-default");
    expect(jobs?.consumers).toMatchObject([{ type: "http_pull", dead_letter_queue: "jobs-default-dlq" }]);
    const { lifecycle } = account.buckets.get("comfy-edge-artifacts") ?? {};
    expect(lifecycle).toMatchObject(
      [7, 30, 90].map((days) => ({ conditions: { prefix: `a${days}/` } })).concat([{ conditions: { prefix: "in1/" } }]),
    );
    expect(first).toContain(`"queue_id":"${jobs?.queue_id}"`);
    expect(first).toContain('database_id = "db-1"');
    account.calls.length = 0;
    expect(await run()).toContain("nothing to make");
    expect(account.calls).toEqual([]);
  });

  it("mends a pull consumer with other settings, and leaves rules that are not ours", async () => {
    await run();
    const jobs = account.queues.find(({ queue_name }) => queue_name === "jobs-default");
    if (jobs) jobs.consumers = [{ consumer_id: "c-9", type: "http_pull", settings: { max_retries: 3 } }];
    const theirs = { id: "theirs", enabled: true, conditions: { prefix: "x/" } };
    account.buckets.set("comfy-edge-artifacts", { lifecycle: [theirs] });
    await run();
    expect(jobs?.consumers).toMatchObject([{ consumer_id: "c-9", settings: { max_retries: 10 } }]);
    expect(account.buckets.get("comfy-edge-artifacts")?.lifecycle).toHaveLength(5);
    expect(account.buckets.get("comfy-edge-artifacts")?.lifecycle?.[0]).toEqual(theirs);
  });

  it("refuses to touch a jobs queue that a Worker consumes", async () => {
    account.queues.push({
      queue_id: "q-x",
      queue_name: "jobs-default",
      consumers: [{ consumer_id: "c", type: "worker" }],
    });
    await expect(run()).rejects.toThrow("queue jobs-default has a consumer of type worker");
    expect(account.calls).toEqual([]);
  });

  it("changes nothing in a dry run, and needs no credentials for one", async () => {
    expect(await run("--dry-run")).toContain("would make queue jobs-default");
    expect(account.calls).toEqual([]);
    env = {};
    expect(await run("--dry-run")).toContain("would make bucket comfy-edge-artifacts");
    await expect(run()).rejects.toThrow("CLOUDFLARE_API_TOKEN");
  });

  it("makes the queue of another pool and prints the lines that make it part of the deploy", async () => {
    const printed = await run("pool", "gpu4090");
    const made = account.queues.find(({ queue_name }) => queue_name === "jobs-gpu4090");
    expect(made?.consumers).toMatchObject([{ type: "http_pull", dead_letter_queue: "jobs-gpu4090-dlq" }]);
    expect(printed).toContain('binding = "JOBS_GPU4090"');
    expect(printed).toContain(`"queue_id":"${made?.queue_id}"`);
    await expect(run("pool", "Not A Name")).rejects.toThrow("pool NAME");
  });

  it("lists the secrets that are missing, without a value of any", async () => {
    account.secrets.push({ name: "KEY_MAC_SECRET" });
    const printed = await run();
    expect(printed).toContain("wrangler secret put BOOTSTRAP_TOKEN");
    expect(printed).not.toContain("wrangler secret put KEY_MAC_SECRET");
    expect(printed).not.toContain(TOKEN);
  });

  it("says in Cloudflare's own words why it was refused, and never the token", async () => {
    env = { ...env, CLOUDFLARE_API_TOKEN: "wrong-token" };
    const refusal = await run().catch((error: unknown) => String(error));
    expect(refusal).toContain("GET queues: Authentication error (10000)");
    expect(refusal).not.toContain("wrong-token");
  });
});
