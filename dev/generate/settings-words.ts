/**
 * Owns what each setting of the Worker means, in one line for operators.
 * Invariant: every setting has a line; making the documents fails for one without.
 */

/** Name -> meaning. Secrets and structured settings are described in the text around the table. */
export const SETTING_WORDS: { readonly [name: string]: string } = {
  ENVIRONMENT: "`dev`, `staging` or `prod`. Outside `dev`: HTTPS alone, real secrets, keys always asked for.",
  LOG_LEVEL: "`info`: a line per request. `warn`: only what somebody may have to act on.",
  API_VERSION: "Told in `X-API-Version` and `/health`.",
  AUTH_ENABLED: "`false` lets anyone in, and is refused outside `dev`.",
  JOBS_ENABLED: "`false`: routes that make jobs answer 503 `FEATURE_DISABLED`; replays, reads and cancels go on.",
  WEBSOCKET_ENABLED: "`false`: streams are refused (503, or close code 1008).",
  RATE_LIMIT_ENABLED: "`false`: no bucket is drawn from, and addresses without a key are not counted.",
  OFFERS_ENABLED: "`false`: jobs reach agents by the queue alone.",
  CORS_ORIGINS: "Origins of browsers that may call, comma separated; empty: none.",
  PUBLIC_URL: "The origin in links this API gives out.",
  DEV_TARGETS: "Origins that webhooks and fetches may reach against the rules. Only in `dev`.",
  R2_ENDPOINT: "S3 endpoint of the bucket; signed links point there.",
  R2_BUCKET: "The bucket's name.",
  QUEUE_API_BASE: "Cloudflare's queue API for this account.",
  DEFAULT_REGION: "Where a user's data lives when nothing else was asked for.",
  KEY_TTL_DAYS: "Days a new key lives when nothing else was asked for.",
  MAX_QUEUED: "Backlog of a pool over which submits are shed: 429 `QUEUE_FULL`.",
  DOORBELL_DELAY_MS:
    "How long the first doorbell of a job waits for an idle agent to take the offer beside it; then it need not ring.",
  LEASE_MS: "An agent's right to a job, from its last renewal.",
  FIRST_LEASE_MS: "The same, before its first renewal.",
  RENEW_MS: "How often an agent renews.",
  LEASE_SOCKET_GRACE_MS: "What is left of a lease once its agent's progress socket broke and none replaced it.",
  CANCEL_GRACE_MS: "How long a cancel waits for the agent before the job is `canceled` without it.",
  RUN_TIMEOUT_MS: "How long a job may run when it does not say.",
  QUEUE_TIMEOUT_MS: "How long a job may wait when it does not say; then it is `expired`.",
  BUDGET: "Overrides of the largest work a workflow may ask for.",
  ACCOUNT_FULL_BYTES:
    "Size of an account's database above which the workflow texts of its oldest ended jobs are deleted; 10 GB is the platform's end.",
  MAX_WAIT_MS: "The longest a request waits for a job's end (generate, `Prefer: wait`).",
  WEBHOOK_TIMEOUT_MS: "How long a webhook's target may take to answer.",
  WEBHOOK_RETRY_SPAN_MS: "From the first try of a webhook to the last.",
};
