/**
 * Owns the W3C trace context as far as we carry it: a client's `traceparent` goes with its job to the agent, and into log lines.
 * Invariant: anything that is not of the form is dropped, never passed on.
 */

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The header as it may travel on; null for none, or one that is malformed. */
export function traceparentOf(header: string | undefined): string | null {
  return header !== undefined && TRACEPARENT.test(header) ? header : null;
}

/** The trace's id, as log lines name it. */
export function traceIdOf(traceparent: string | null): string | null {
  return traceparent === null ? null : (TRACEPARENT.exec(traceparent)?.[1] ?? null);
}
