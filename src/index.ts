/**
 * The Worker's entry: HTTP to `http/app`, queue batches to `queues/`, the four object classes.
 * Invariant: imports everything, imported by nobody.
 */
import { app } from "./http/app.ts";
import type { Env } from "./platform/env.ts";
import { consume } from "./queues/consume.ts";

export { AccountObject } from "./objects/account/account-object.ts";
export { MetricsObject } from "./objects/metrics/metrics-object.ts";
export { PoolObject } from "./objects/pool/pool-object.ts";
export { ProgressObject } from "./objects/progress/progress-object.ts";

export default {
  fetch: (request, env, ctx) => app.fetch(request, env, ctx),
  queue: (batch, env, ctx) => consume(batch, env, ctx),
} satisfies ExportedHandler<Env, string>;
