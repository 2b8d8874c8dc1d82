/**
 * Owns the calls to Cloudflare's REST API that provisioning needs.
 * Invariant: an answer is parsed before it is believed; a refusal throws Cloudflare's own words and never the token.
 *
 * Paths and shapes: Cloudflare API v4, as its official client library spells them.
 */
import { z } from "zod";

export type Credentials = { base: string; account: string; token: string };

const envelope = z.object({
  success: z.boolean(),
  errors: z.array(z.object({ code: z.number(), message: z.string() })).default([]),
  result: z.unknown(),
  result_info: z.object({ total_pages: z.number().optional() }).nullish(),
});

export const queueSchema = z.object({ queue_id: z.string(), queue_name: z.string() });
export const consumerSchema = z.looseObject({
  consumer_id: z.string(),
  type: z.string(),
  dead_letter_queue: z.string().nullish(),
  settings: z.record(z.string(), z.unknown()).nullish(),
});
export const databaseSchema = z.object({ uuid: z.string(), name: z.string() });
const bucketsSchema = z.object({ buckets: z.array(z.object({ name: z.string() })) });
const rulesSchema = z.object({ rules: z.array(z.looseObject({ id: z.string().optional() })).nullish() }).nullish();
const secretSchema = z.object({ name: z.string() });
export type Rule = { id?: string | undefined; [field: string]: unknown };

const PAGE = 100;
const TIMEOUT_MS = 30_000;

export class CloudflareApi {
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  queues() {
    return this.#all("queues", queueSchema);
  }
  async createQueue(queue_name: string) {
    return queueSchema.parse(await this.#call("POST", "queues", { queue_name }));
  }
  async consumers(queueId: string) {
    return z.array(consumerSchema).parse((await this.#call("GET", `queues/${queueId}/consumers`)) ?? []);
  }
  async createConsumer(queueId: string, consumer: object): Promise<void> {
    await this.#call("POST", `queues/${queueId}/consumers`, consumer);
  }
  async updateConsumer(queueId: string, consumerId: string, consumer: object): Promise<void> {
    await this.#call("PUT", `queues/${queueId}/consumers/${consumerId}`, consumer);
  }
  async bucketNames(): Promise<string[]> {
    const { buckets } = bucketsSchema.parse(await this.#call("GET", "r2/buckets?per_page=1000"));
    return buckets.map(({ name }) => name);
  }
  async createBucket(name: string): Promise<void> {
    await this.#call("POST", "r2/buckets", { name });
  }
  /** Empty where the bucket has none: Cloudflare answers 404 for a bucket that never had CORS rules. */
  async rules(bucket: string, kind: "cors" | "lifecycle"): Promise<Rule[]> {
    const found = await this.#call("GET", `r2/buckets/${bucket}/${kind}`, undefined, [404]);
    return rulesSchema.parse(found)?.rules ?? [];
  }
  async setRules(bucket: string, kind: "cors" | "lifecycle", rules: Rule[]): Promise<void> {
    await this.#call("PUT", `r2/buckets/${bucket}/${kind}`, { rules });
  }
  databases() {
    return this.#all("d1/database", databaseSchema);
  }
  async createDatabase(name: string) {
    return databaseSchema.parse(await this.#call("POST", "d1/database", { name }));
  }
  /** Names alone: values cannot be read back. Empty before the first deploy. */
  async secretNames(script: string): Promise<string[]> {
    const found = await this.#call("GET", `workers/scripts/${script}/secrets`, undefined, [404]);
    return z
      .array(secretSchema)
      .parse(found ?? [])
      .map(({ name }) => name);
  }

  async #all<T>(path: string, schema: z.ZodType<T>): Promise<T[]> {
    const found: T[] = [];
    for (let page = 1; ; page++) {
      const { result, pages } = await this.#page(`${path}?page=${page}&per_page=${PAGE}`);
      found.push(...z.array(schema).parse(result));
      if (page >= pages) return found;
    }
  }

  async #page(path: string) {
    const answer = await this.#fetch("GET", path, undefined);
    return { result: answer.body.result, pages: answer.body.result_info?.total_pages ?? 1 };
  }

  /** The `result`; null for a status that stands for "there is none". */
  async #call(method: string, path: string, body?: object, absent: number[] = []): Promise<unknown> {
    const { status, body: answer } = await this.#fetch(method, path, body, absent);
    return absent.includes(status) ? null : answer.result;
  }

  async #fetch(method: string, path: string, body: object | undefined, absent: number[] = []) {
    const { base, account, token } = this.#credentials;
    const response = await fetch(`${base}/accounts/${account}/${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const parsed = envelope.safeParse(await response.json().catch(() => null));
    if (absent.includes(response.status)) return { status: response.status, body: { result: null, result_info: null } };
    if (!parsed.success || !parsed.data.success) {
      const words = parsed.data?.errors.map(({ code, message }) => `${message} (${code})`).join("; ");
      throw new Error(`${method} ${path.split("?")[0]}: ${words || `HTTP ${response.status}`}`);
    }
    return { status: response.status, body: parsed.data };
  }
}
