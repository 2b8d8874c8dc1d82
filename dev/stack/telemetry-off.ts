/**
 * Owns the variables that keep wrangler and miniflare from dialling anything but this machine.
 * Invariant: imported for its effect before either of them is loaded.
 */
Object.assign(process.env, {
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_SEND_ERROR_REPORTS: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_LOG: "none",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
});
