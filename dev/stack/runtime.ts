/**
 * Owns the workerd process of a local stack: gateway, API Worker and queue simulator on one port, bindings from wrangler.toml.
 * Invariant: everything it keeps lies under the data folder it is given, so two stacks side by side never meet.
 *
 * Miniflare is driven directly: wrangler's test harness always takes a random port and keeps nothing, and its proxy adds
 * 2-4 ms a request. Local queues live in memory: what was not yet delivered when workerd ends is rung again by the account.
 */
import "./telemetry-off.ts";
import { createWriteStream, mkdirSync, readdirSync, readFileSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  convertV4MiniflareOptions,
  Log,
  LogLevel,
  Miniflare,
  MiniflareCoreError,
  type V4WorkerOptions,
  type V4WorkerOptionsShape,
} from "miniflare";
import { unstable_getMiniflareWorkerOptions, unstable_splitSqlQuery } from "wrangler";
import { z } from "zod";
import { devVars } from "../dev-vars.ts";
import { checkVars } from "./api-vars.ts";
import { bundleWorker } from "./bundle.ts";
import { QUEUE_SIMULATOR, queueSimulatorWorker } from "./queue-simulator-worker.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const API = "comfy-edge";
/** Serves the files of `[assets]` for the binding alone. */
const FILES = "assets";
const NOTHING_HERE = [
  {
    type: "ESModule" as const,
    path: "assets.mjs",
    contents: "export default { fetch: () => new Response(null, { status: 404 }) };",
  },
];
/** Deliveries after the first before a doorbell is dead: what `ops/provision` sets in production. */
const MAX_RETRIES = 10;

export type Runtime = {
  /** `http://127.0.0.1:<port>`: API, WebSockets, local S3, queue simulator. */
  readonly url: string;
  /** The API Worker on a socket of its own, without gateway or entry: for measurements. */
  readonly directUrl: string;
  stop(): Promise<void>;
};

export type RuntimeOptions = {
  port: number;
  dataDir: string;
  /** Every variable and secret of the API Worker that differs from wrangler.toml. */
  vars: Record<string, string>;
};

const poolsSchema = z.array(z.object({ name: z.string(), queue_id: z.string() }));

/** Writes in the background: the Worker's own log calls wait for whoever reads its output. */
class FileLog extends Log {
  readonly #file: WriteStream;
  constructor(path: string) {
    super(LogLevel.WARN);
    this.#file = createWriteStream(path, { flags: "a" });
    // A line that comes after the end, or finds its folder gone, is no reason to end the stack.
    this.#file.on("error", () => undefined);
  }
  override log(message: string): void {
    this.#file.write(`${message}\n`);
  }
  close(): Promise<void> {
    return new Promise((resolve) => this.#file.end(resolve));
  }
}

export async function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const logs = join(options.dataDir, "logs");
  mkdirSync(logs, { recursive: true });
  const log = new FileLog(join(logs, "worker.log"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: options.port,
      cf: false,
      telemetry: { enabled: false },
      log,
      logRequests: false,
      handleStructuredLogs: ({ level, message, timestamp }) =>
        log.log(`${new Date(timestamp).toISOString()} ${level} ${message}`),
      resourcePersistencePath: join(options.dataDir, "state"),
      workers: await workers(options),
    }),
  );
  try {
    const url = (await miniflare.ready.catch(portTaken(options.port))).origin;
    await applyMigrations(miniflare);
    const directUrl = (await miniflare.unsafeGetDirectURL(API)).origin;
    return { url, directUrl, stop: () => miniflare.dispose().then(() => log.close()) };
  } catch (error) {
    // It fails again over what it failed over before: the first reason is the one to tell.
    await miniflare.dispose().catch(() => undefined);
    throw error;
  }
}

/** Somebody else listens on the port. */
export class PortTaken extends Error {}

function portTaken(port: number): (error: unknown) => never {
  return (error) => {
    if (error instanceof MiniflareCoreError && error.code === "ERR_ADDRESS_IN_USE")
      throw new PortTaken(`port ${port} is taken: choose another with --port N (0 takes any free one)`);
    throw error;
  };
}

/** The boundary where wrangler's answer, typed too loosely to spread, becomes the options miniflare takes. */
function fromWranglerToml(): V4WorkerOptionsShape {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  return workerOptions as V4WorkerOptionsShape;
}

/**
 * Miniflare puts two Workers of JavaScript in front of a Worker that has assets, which more than halves its requests per
 * second. With `run_worker_first` they only pass requests on, so here the files live in a Worker of their own behind ASSETS.
 */
async function workers(options: RuntimeOptions): Promise<V4WorkerOptions[]> {
  const { assets, ...api } = fromWranglerToml();
  checkVars({ ...api.bindings, ...devVars() }, options.vars);
  const bindings: Record<string, unknown> = { ...api.bindings, ...options.vars };
  const shared = {
    compatibilityDate: String(api.compatibilityDate),
    compatibilityFlags: api.compatibilityFlags ?? [],
  };
  const queues = poolsSchema.parse(JSON.parse(String(bindings.POOLS))).map((pool) => pool.queue_id);
  const [gatewayModules, apiModules, simulator] = await Promise.all([
    bundleWorker("dev/workers/gateway/index.ts"),
    bundleWorker("src/index.ts"),
    queueSimulatorWorker({ queues, token: String(bindings.QUEUE_API_TOKEN), maxRetries: MAX_RETRIES }),
  ]);
  return [
    { ...shared, name: "gateway", modules: gatewayModules, serviceBindings: { API, QUEUE_SIMULATOR } },
    {
      ...api,
      bindings: { ...api.bindings, ...options.vars },
      name: API,
      rootPath: ROOT,
      modules: apiModules,
      serviceBindings: { ...api.serviceBindings, ...(assets ? { ASSETS: FILES } : {}) },
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    },
    { ...shared, ...simulator },
    ...(assets ? [{ ...shared, name: FILES, rootPath: ROOT, modules: NOTHING_HERE, assets: filesFirst(assets) }] : []),
  ];
}

/** The files themselves, without the Worker in front of them that the API Worker is in production. */
function filesFirst(assets: NonNullable<V4WorkerOptionsShape["assets"]>) {
  return { ...assets, run_worker_first: false, routerConfig: { has_user_worker: false } };
}

/** Applies the directory's migrations that have not run, in the order of their names; each in one transaction. */
async function applyMigrations(miniflare: Miniflare): Promise<void> {
  const folder = join(ROOT, "migrations/directory");
  const directory = await miniflare.getD1Database("DIRECTORY", API);
  await directory.prepare("CREATE TABLE IF NOT EXISTS d1_migrations (name TEXT PRIMARY KEY)").run();
  const { results } = await directory.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
  const done = new Set(results.map((row) => row.name));
  const files = readdirSync(folder, { withFileTypes: true }).filter((f) => f.isFile() && f.name.endsWith(".sql"));
  for (const name of files.map((f) => f.name).sort()) {
    if (done.has(name)) continue;
    const statements = unstable_splitSqlQuery(readFileSync(join(folder, name), "utf8"));
    await directory.batch([
      ...statements.map((statement) => directory.prepare(statement)),
      directory.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
    ]);
  }
}
