/**
 * Owns what this isolate knows of the pools' catalogues.
 * Invariant: a hint kept for 30 s; a pool or bucket that does not answer makes it old, and an old one refuses nothing.
 */
import type { Context } from "hono";
import type { Listing } from "../domain/catalogue.ts";
import { poolOf } from "../objects/locate.ts";
import type { Env } from "../platform/env.ts";
import { inTimeOrThrow } from "../platform/in-time.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { type Catalogue, catalogueKey, catalogueSchema } from "../protocol/catalogue.ts";
import type { PoolName } from "../protocol/ids.ts";
import type { AppEnv } from "./context.ts";

const LIVES_MS = 30_000;
/** A pool without a catalogue is asked again soon: its first agent is about to tell. */
const NOTHING_LIVES_MS = 1_000;
const PATIENCE_MS = 2_000;

type Kept = { hash: string | null; catalogue: Catalogue | null; listing: Listing; at: number; livesMs: number };

const kept = new Map<PoolName, Kept>();
const asking = new Map<PoolName, Promise<Kept>>();

/** The catalogue of a pool, at most `maxAgeMs` old; null where none was ever published or read. */
export async function catalogueOf(env: Env, pool: PoolName, maxAgeMs = LIVES_MS): Promise<Catalogue | null> {
  return (await keptOf(env, pool, maxAgeMs)).catalogue;
}

/** The listings of the pools that may take a job: the one it names, else any, since the account knows its own. */
export async function listingsFor(
  c: Context<AppEnv>,
  pool: PoolName | null,
  maxAgeMs = LIVES_MS,
): Promise<readonly Listing[]> {
  const pools = c.get("settings").POOLS.map(({ name }) => name);
  const candidates = pool === null ? pools : pools.filter((name) => name === pool);
  const all = await Promise.all(candidates.map((name) => keptOf(c.env, name, maxAgeMs)));
  return all.map(({ listing }) => listing);
}

async function keptOf(env: Env, pool: PoolName, maxAgeMs: number): Promise<Kept> {
  const known = kept.get(pool);
  if (known !== undefined && Math.abs(Date.now() - known.at) < Math.min(known.livesMs, maxAgeMs)) return known;
  const underWay = asking.get(pool) ?? ask(env, pool, known ?? null).finally(() => asking.delete(pool));
  asking.set(pool, underWay);
  return underWay;
}

async function ask(env: Env, pool: PoolName, known: Kept | null): Promise<Kept> {
  const at = Date.now();
  try {
    const { hash, is_fresh } = await inTimeOrThrow(poolOf(env, pool).catalogue(), PATIENCE_MS);
    const catalogue = hash === null || hash === known?.hash ? (known?.catalogue ?? null) : await read(env, pool, hash);
    const livesMs = catalogue === null ? NOTHING_LIVES_MS : LIVES_MS;
    const now = { hash, catalogue, listing: listingOf(catalogue, is_fresh), at, livesMs };
    kept.set(pool, now);
    return now;
  } catch (error) {
    logLine("warn", "catalogue_unknown", { pool, cause: causeOf(error) });
    const catalogue = known?.catalogue ?? null;
    const old = { hash: known?.hash ?? null, catalogue, listing: listingOf(catalogue, false), at, livesMs: LIVES_MS };
    kept.set(pool, old);
    return old;
  }
}

async function read(env: Env, pool: PoolName, hash: string): Promise<Catalogue> {
  const object = await inTimeOrThrow(env.ARTIFACTS.get(catalogueKey(pool, hash)), PATIENCE_MS);
  if (object === null) throw new Error("the catalogue is not in the bucket");
  return catalogueSchema.parse(await inTimeOrThrow(object.json(), PATIENCE_MS));
}

function listingOf(catalogue: Catalogue | null, isFresh: boolean): Listing {
  const classes = new Set(catalogue?.node_classes);
  const models = new Set(catalogue?.models.map(({ kind, name }) => `${kind}/${name}`));
  const kinds = new Set(catalogue?.models.map(({ kind }) => kind));
  return {
    // An agent whose listing could not be read says nothing about what is there.
    isFresh: isFresh && classes.size > 0,
    hasClass: (classType) => classes.has(classType),
    hasModel: (kind, name) => !kinds.has(kind) || models.has(`${kind}/${name}`),
  };
}
