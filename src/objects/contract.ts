/**
 * Owns the one door to what may be asked of each Durable Object; the shapes are in the folder beside it.
 * Invariant: outside src/objects only this file and locate are imported.
 */
export type * from "./contract/account.ts";
export type * from "./contract/auth.ts";
export type * from "./contract/clients.ts";
export type * from "./contract/credentials.ts";
export * from "./contract/edge.ts";
export type * from "./contract/leases.ts";
export type * from "./contract/metrics.ts";
export type * from "./contract/pool.ts";
export type * from "./contract/progress.ts";
export type * from "./contract/retention.ts";
export type * from "./contract/webhooks.ts";
