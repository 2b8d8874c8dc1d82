/**
 * Owns the names of objects in the bucket (CONTRACT 3): retention class first, so that lifecycle rules can match a prefix.
 * Invariant: a key holds only `[A-Za-z0-9/_.-]`, belongs to one attempt, and contains no text given by a user.
 */
import { type AccountId, accountIdSchema, type JobId, jobIdSchema } from "./ids.ts";

export const RETENTION_CLASSES = [7, 30, 90] as const;
export type RetentionDays = (typeof RETENTION_CLASSES)[number];

/** `a7|a30|a90/<account>/<job>/<attempt>-<nonce8>`, without a trailing slash. */
export function attemptPrefix(
  days: RetentionDays,
  account: AccountId,
  job: JobId,
  attempt: number,
  nonce: string,
): string {
  return `${jobPrefix(days, account, job)}/${attempt}-${nonce.slice(0, 8)}`;
}

/** `a7|a30|a90/<account>/<job>`, without a trailing slash: what all attempts of a job share. */
export function jobPrefix(days: RetentionDays, account: AccountId, job: JobId): string {
  return `a${days}/${account}/${job}`;
}

/** `<prefix>/<n>.<ext>`; the extension follows the sniffed content type, `bin` when unknown. */
export function artifactKey(prefix: string, n: number, extension: string): string {
  return `${prefix}/${n}.${/^[a-z0-9]{1,8}$/.test(extension) ? extension : "bin"}`;
}

/** `in1/<agent>/<nonce>`: under the rule that keeps a file for one day. */
export function testKey(agent: string, nonce: string): string {
  return `in1/${agent}/${nonce}`;
}

const ARTIFACT_KEY = /^a(?:7|30|90)\/([a-z0-9]{16})\/(j_[0-9a-f]{12})\/\d{1,6}-[0-9a-z]{8}\/[^/]+$/;

/** Whose an object of the artifact prefixes is; null for any other key. */
export function parseArtifactKey(key: string): { account: AccountId; job: JobId } | null {
  const [, account, job] = ARTIFACT_KEY.exec(key) ?? [];
  if (account === undefined || job === undefined) return null;
  return { account: accountIdSchema.parse(account), job: jobIdSchema.parse(job) };
}

export function isUnderPrefix(key: string, prefix: string): boolean {
  return key.startsWith(`${prefix}/`) && /^[A-Za-z0-9/_.-]+$/.test(key) && !key.includes("..");
}
