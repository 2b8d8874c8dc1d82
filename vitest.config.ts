/**
 * The six projects of the suite (DESIGN 11). `npm test` runs all; `--project NAME` one.
 */
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { devVars } from "./dev/dev-vars.ts";

const node = (name: string, timeoutMs: number) => ({
  test: {
    name,
    environment: "node" as const,
    include: name === "unit" ? ["test/unit/**/*.test.ts", "test/architecture.test.ts"] : [`test/${name}/**/*.test.ts`],
    testTimeout: timeoutMs,
    hookTimeout: 60_000,
  },
});

/** The deployment a conformance run is for. Vite gives tests a BASE_URL of its own, so ours goes by another way. */
const conformance = node("conformance", 60_000);
Object.assign(conformance.test, { env: { CONFORMANCE_URL: process.env.BASE_URL ?? "" } });

/** What a run is asked for, told to the tests of the Workers runtime, which see no environment variables. */
const { LONG, MODEL_RUNS, MODEL_SEED, MODEL_PATH, MODEL_REPLAY, FUZZ_RUNS, FUZZ_SEED } = process.env;
const asked = {
  long: LONG === "1",
  model: {
    runs: Number(MODEL_RUNS ?? 300),
    seed: MODEL_SEED ? Number(MODEL_SEED) : null,
    path: MODEL_PATH ?? "",
    replay: MODEL_REPLAY ?? "",
  },
  fuzz: { runs: Number(FUZZ_RUNS ?? (LONG === "1" ? 200 : 20)), seed: Number(FUZZ_SEED ?? Date.now() % 2 ** 31) },
};

/** What a Worker under test may dial: nothing but this machine, whatever URL a webhook was given. */
async function onlyThisMachine(request: Request): Promise<Response> {
  if (new URL(request.url).hostname === "127.0.0.1") return fetch(request);
  return new Response("only this machine can be reached in tests", { status: 502 });
}

export default defineConfig({
  test: {
    // Half of the suite's time is waiting: for leases, sockets and processes.
    maxWorkers: 2,
    projects: [
      node("unit", 30_000),
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            // Tests wait for what follows at once; the delay of doorbells has tests of its own.
            miniflare: { bindings: { ...devVars(), DOORBELL_DELAY_MS: "0" }, outboundService: onlyThisMachine },
          }),
        ],
        test: {
          name: "workers",
          include: ["test/workers/**/*.test.ts"],
          testTimeout: 30_000,
          provide: { asked },
          setupFiles: ["test/workers/support/canary.ts"],
        },
      },
      node("flows", 60_000),
      node("faults", 60_000),
      conformance,
      node("browser", 60_000),
    ],
  },
});
