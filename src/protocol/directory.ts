/**
 * Owns what the directory is told: users, the metadata of keys, agents, who did what.
 * Invariant: ids, names, times and roles; never a secret, its hash, or anything of a job.
 */

export type DirectoryUser = {
  user_id: string;
  name: string;
  role: string;
  region: string;
  default_pool: string;
  created_at: number;
  disabled_at: number | null;
  erased_at: number | null;
};

export type DirectoryKey = {
  user_id: string;
  keyid: string;
  kind: string;
  name: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  /** As of the last time the directory was told: at most a week old. */
  last_used_at: number | null;
};

export type DirectoryAgent = {
  agent: string;
  pool: string;
  name: string;
  created_at: number;
  revoked_at: number | null;
};

/** `actor`: a key id, or `bootstrap`. `action`: a verb such as `create_user`. `account`: whose thing it was. */
export type AuditEntry = {
  /** Random; the same entry told twice is one row. */
  entry: string;
  ts: number;
  actor: string;
  action: string;
  account: string;
  target: string;
  request_id: string;
};
