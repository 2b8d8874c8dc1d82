/**
 * Owns what an operator's cleanup may ask of an account.
 * Invariant: safe to repeat at any time; nothing a job stands behind is ever named.
 */

/** Jobs that went; `more`: ask again. */
export type Tidied = { jobs: number; more: boolean };

export interface RetentionRpc {
  /** Deletes jobs past their time, and owes their files to the bucket. */
  tidyNow(): Promise<Tidied>;
  /** Those of the keys that no job of this account stands behind, nor may yet. */
  unreferenced(keys: string[]): Promise<string[]>;
}
