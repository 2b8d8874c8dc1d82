/**
 * Owns the one way the control plane writes a log line: one JSON object per line.
 * Invariant: a line holds ids, codes and figures; never a prompt, workflow, secret, signed URL or query string.
 */

export type LogLevel = "info" | "warn" | "error";
export type LogFields = { readonly [name: string]: string | number | boolean | null | undefined };

/** Names whose values never reach a line, whatever a caller passes. */
const NEVER = /prompt|secret|token|authorization|api_?key|workflow_text|url/i;
/** Longest text value of a line, in characters. */
const MAX_VALUE = 500;

/** Writes one line. `event` is a short snake_case verb phrase such as `request` or `job_submitted`. */
export function logLine(level: LogLevel, event: string, fields: LogFields): void {
  const line: { [name: string]: unknown } = { level, event, ts: new Date().toISOString() };
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || NEVER.test(name)) continue;
    line[name] = typeof value === "string" && value.length > MAX_VALUE ? value.slice(0, MAX_VALUE) : value;
  }
  try {
    console.log(JSON.stringify(line));
  } catch {
    // A line that cannot be written is lost; what it tells of goes on.
  }
}

/** The cause of an exception for a log line: name, first line of the message (a database names its parameters on the
 * next), the first stack frames; cut to 500 characters. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, MAX_VALUE);
  const frames = (error.stack ?? "")
    .split("\n")
    .slice(1, 4)
    .map((line) => line.trim());
  const [message] = error.message.split("\n");
  return `${error.name}: ${message} ${frames.join(" ")}`.slice(0, MAX_VALUE);
}
