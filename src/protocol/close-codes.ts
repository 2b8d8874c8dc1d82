/**
 * Owns the WebSocket close codes and what the other side must do on each.
 * Invariant: reasons stay under 123 bytes (the runtime throws on longer ones).
 */

export const CLOSE = {
  /** The job is over, `done` was sent: do not reconnect. */
  DONE: 1000,
  /** Going away (deploy, eviction): reconnect with jitter. */
  GOING_AWAY: 1001,
  /** Unknown job, or sockets disabled: do not reconnect. */
  REFUSED: 1008,
  /** A frame over the limit, or not of the protocol: a bug on the other side. */
  TOO_BIG: 1009,
  /** The reader is too slow: reconnect and take the snapshot. */
  SLOW: 1013,
  /** The key or token was revoked: stop, ask the operator. */
  REVOKED: 4401,
  /** A newer socket of the same agent or attempt took over: the older one stays closed. */
  REPLACED: 4409,
  /** No sign of life from the client for 5 minutes: reconnect when needed. */
  IDLE: 4408,
} as const;
