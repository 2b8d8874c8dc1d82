/**
 * Owns the workflow texts, verbatim, once per SHA-256.
 * Invariant: a text is never changed; the same text costs one row however often it is submitted.
 */
import { eq } from "drizzle-orm";
import type { AccountDb } from "./database.ts";
import { payloads } from "./schema.ts";
import { slot, slots } from "./slots.ts";

export type PayloadTable = {
  get(sha256: string): string | null;
  /** No row is written when the text is known. Throws when the hash is known with another text. */
  keep(sha256: string, text: string): void;
};

export function payloadTable(db: AccountDb): PayloadTable {
  const get = db
    .select({ text: payloads.text })
    .from(payloads)
    .where(eq(payloads.sha256, slot("sha256")))
    .prepare();
  const keep = db.insert(payloads).values(slots(payloads)).prepare();
  const textOf = (sha256: string) => get.get({ sha256 })?.text ?? null;
  return {
    get: textOf,
    keep: (sha256, text) => {
      const known = textOf(sha256);
      if (known === null) keep.run({ sha256, text });
      else if (known !== text) throw new Error("a workflow hash stands for two texts");
    },
  };
}
