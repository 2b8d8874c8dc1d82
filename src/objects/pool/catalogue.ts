/**
 * Owns the union of what a pool's agents have, and its place in the bucket.
 * Invariant: a hint. It is made when somebody asks, from the agents that are here and those that left a moment ago; an agent
 * that has not told what it has makes it not fresh.
 */
import { sha256Hex } from "../../platform/hash.ts";
import type { Capability } from "../../protocol/agent-api.ts";
import { type Catalogue, catalogueKey, cataloguePrefix } from "../../protocol/catalogue.ts";
import type { PoolName } from "../../protocol/ids.ts";
import type { CatalogueState } from "../contract.ts";

/** An agent that restarts does not take its models out of the catalogue. */
const LEFT_MS = 600_000;
/** Old documents deleted when a new one is published. */
const TIDY_AT_MOST = 100;

/** The bucket as far as it is needed here: an R2Bucket is one. */
type Bucket = {
  put(key: string, text: string): Promise<unknown>;
  list(options: { prefix: string; limit: number }): Promise<{ objects: { key: string }[] }>;
  delete(keys: string[]): Promise<void>;
};
type Deps = {
  readonly pool: PoolName;
  readonly bucket: Bucket;
  /** Null: not told yet. */
  readonly documentOf: (capabilityHash: string) => Capability | null;
};

export class CatalogueOfPool {
  readonly #deps: Deps;
  /** Capability hash -> when an agent with it was here last, ms UTC. */
  readonly #heard = new Map<string, number>();
  #made: { of: string; hash: string; text: string } | null = null;
  #published: string | null = null;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** @param here capability hashes of the agents that are connected; the text "" for one that did not say. */
  async state(here: readonly string[], now: number): Promise<CatalogueState> {
    for (const hash of here) this.#heard.set(hash, now);
    for (const [hash, at] of this.#heard) if (now - at > LEFT_MS) this.#heard.delete(hash);
    const known = [...this.#heard.keys()].filter((hash) => this.#deps.documentOf(hash) !== null).sort();
    if (known.length === 0) return { hash: null, is_fresh: false };
    const made = this.#make(known);
    if (this.#published !== made.hash) await this.#publish(made.hash, made.text);
    return { hash: made.hash, is_fresh: here.length > 0 && here.every((hash) => known.includes(hash)) };
  }

  #make(known: readonly string[]): { hash: string; text: string } {
    const of = known.join();
    if (this.#made?.of === of) return this.#made;
    const text = JSON.stringify(unionOf(known.map((hash) => this.#deps.documentOf(hash)).filter((c) => c !== null)));
    this.#made = { of, hash: sha256Hex(text), text };
    return this.#made;
  }

  /** The one before stays: somebody may be about to read it. */
  async #publish(hash: string, text: string): Promise<void> {
    const { bucket, pool } = this.#deps;
    await bucket.put(catalogueKey(pool, hash), text);
    const keep = [hash, this.#published].map((kept) => kept && catalogueKey(pool, kept));
    this.#published = hash;
    const listed = await bucket.list({ prefix: cataloguePrefix(pool), limit: TIDY_AT_MOST });
    const old = listed.objects.map(({ key }) => key).filter((key) => !keep.includes(key));
    if (old.length > 0) await bucket.delete(old);
  }
}

function unionOf(capabilities: readonly Capability[]): Catalogue {
  const models = new Map<string, Catalogue["models"][number]>();
  const classes = new Set<string>();
  for (const capability of capabilities) {
    for (const { kind, name, size_bytes } of capability.models) {
      const known = models.get(`${kind}/${name}`);
      models.set(`${kind}/${name}`, { kind, name, size_bytes: known?.size_bytes ?? size_bytes });
    }
    for (const name of capability.node_classes) classes.add(name);
  }
  const sorted = [...models].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, model]) => model);
  return { models: sorted, node_classes: [...classes].sort() };
}
