/**
 * Owns the one local port: the queue simulator under its path, everything else to the API Worker, WebSockets included.
 * Invariant: a request passes through unchanged; nothing about jobs is decided here. Never deployed.
 *
 * The local S3 endpoint (`/cdn-cgi/local/r2/s3/<bucket>`) is answered before this Worker is asked.
 */
export interface GatewayEnv {
  API: Fetcher;
  QUEUE_SIMULATOR: Fetcher;
}

export default {
  fetch(request, env) {
    const simulated = new URL(request.url).pathname.startsWith("/queue-simulator/");
    return (simulated ? env.QUEUE_SIMULATOR : env.API).fetch(request);
  },
} satisfies ExportedHandler<GatewayEnv>;
