/**
 * Owns what a ProgressObject asks the accounts: whether a viewer may see the job, and whether its key still stands.
 * Invariant: a yes is never older than the answer it came from, nor than the last fall of a key; an outage is not a yes.
 */
import type { Env } from "../../platform/env.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import type { AccountId, JobId } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { ViewerIdentity } from "../contract.ts";
import { accountOf } from "../locate.ts";

export type ViewerKey = ViewerIdentity["key"];
export type Admission =
  | { ok: true; record: JobRecord }
  /** `unknown` also stands for a job of someone else. */
  | { ok: false; why: "unknown" | "revoked" | "disabled" | "unavailable" };

/** Viewers who come by the same key within this time share one answer: a thousand at once ask once. */
const SHARED_FOR_MS = 1_000;

export class Access {
  readonly #env: Env;
  readonly #account: AccountId;
  readonly #job: JobId;
  readonly #checksKeys: boolean;
  readonly #shared = new Map<string, { at: number; admission: Promise<Admission> }>();
  /** Keys that fell, as far as this object was told: an answer asked for before counts no more. */
  #falls = 0;

  constructor(env: Env, account: AccountId, job: JobId, checksKeys: boolean) {
    this.#env = env;
    this.#account = account;
    this.#job = job;
    this.#checksKeys = checksKeys;
  }

  /** May this viewer see the job? With the record as the account has it. */
  async admit(identity: ViewerIdentity): Promise<Admission> {
    for (;;) {
      const falls = this.#falls;
      const admission = await this.#admitShared(identity);
      // A no holds for those who asked with it: the next may be let in, by an account that was enabled meanwhile.
      if (!admission.ok) this.#shared.clear();
      if (falls === this.#falls) return admission;
    }
  }

  /** A key fell: what was answered before is forgotten. */
  keyFell(): void {
    this.#falls++;
    this.#shared.clear();
  }

  #admitShared(identity: ViewerIdentity): Promise<Admission> {
    const now = Date.now();
    for (const [name, { at }] of this.#shared) if (now - at > SHARED_FOR_MS) this.#shared.delete(name);
    const name = `${identity.auth.by} ${nameOf(identity.key)}`;
    const known = this.#shared.get(name);
    if (known) return known.admission;
    const admission = this.#ask(identity).catch((error: unknown): Admission => {
      logLine("warn", "viewer_not_admitted", { job: this.#job, cause: causeOf(error) });
      return { ok: false, why: "unavailable" };
    });
    this.#shared.set(name, { at: now, admission });
    return admission;
  }

  /** Those of the keys that are neither revoked nor expired; one question per account. Null: could not be told. */
  async standing(keys: ViewerKey[]): Promise<Set<string> | null> {
    if (!this.#checksKeys) return new Set(keys.map(nameOf));
    const accounts = new Set(keys.map((key) => key.account));
    try {
      const found = await Promise.all([...accounts].map((account) => this.#keysOf(account)));
      return new Set(found.flat());
    } catch (error) {
      logLine("warn", "viewer_keys_not_checked", { job: this.#job, cause: causeOf(error) });
      return null;
    }
  }

  async #ask({ auth, key }: ViewerIdentity): Promise<Admission> {
    const region = auth.by === "parent" ? auth.region : null;
    const [found, standing] = await Promise.all([
      accountOf(this.#env, this.#account, region).admitViewer(auth, this.#job),
      // A ticket proves that its key stood a while ago, as does the Worker's word for a tenant's: whether it stands now is asked
      // like for an open socket.
      auth.by === "key" ? new Set([nameOf(key)]) : this.standing([key]),
    ]);
    if (standing === null) return { ok: false, why: "unavailable" };
    if (!standing.has(nameOf(key))) return { ok: false, why: "revoked" };
    if (found.ok) return { ok: true, record: found.value };
    const { code } = found.refusal;
    if (code === "NOT_FOUND") return { ok: false, why: "unknown" };
    if (code === "FORBIDDEN") return { ok: false, why: "disabled" };
    return { ok: false, why: code === "UNAUTHORIZED" ? "revoked" : "unavailable" };
  }

  async #keysOf(account: AccountId): Promise<string[]> {
    const object = accountOf(this.#env, account);
    const rows = await (account === this.#account ? object.listKeys() : object.keysWatching(this.#account));
    return rows.filter((row) => row.stands).map(({ keyid }) => nameOf({ account, keyid }));
  }
}

/** One text per key, whatever account it lives in. */
export function nameOf(key: ViewerKey): string {
  return `${key.account}:${key.keyid}`;
}
