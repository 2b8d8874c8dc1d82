/**
 * Owns the agent's log: pino, one line an event, JSON or for people.
 * Invariant: no token, lease, signed URL, workflow or prompt text is ever written; the paths below are redacted even if passed.
 */
import { type DestinationStream, type Logger, pino } from "pino";

export type Log = Logger;
export type LogFormat = "json" | "pretty";

const SECRET = ["token", "authorization", "lease", "url", "workflow", "prompt", "ref", "headers"];

export function makeLog(format: LogFormat, level: string, base: Record<string, string>, to?: DestinationStream): Log {
  const options = {
    level,
    base,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRET.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
  };
  const out = to ?? pino.destination({ fd: 1, sync: true });
  return pino(options, format === "pretty" ? prettyTo(out) : out);
}

const COLORS: Record<string, string> = { warn: "\x1b[33m", error: "\x1b[31m", fatal: "\x1b[31m" };

/** `12:00:01.234 WARN  comfyui down  slot=0 reason=refused`. A line that is no JSON passes as it is. */
function prettyTo(out: DestinationStream): DestinationStream {
  return {
    write(line: string) {
      out.write(`${pretty(line)}\n`);
    },
  };
}

function pretty(line: string): string {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch {
    return line.trimEnd();
  }
  if (typeof fields !== "object" || fields === null) return line.trimEnd();
  const { level, time, msg, ...rest } = Object.fromEntries(Object.entries(fields));
  const details = Object.entries(rest)
    .filter(([name]) => name !== "agent")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
  const color = process.stdout.isTTY ? (COLORS[String(level)] ?? "") : "";
  const label = `${color}${String(level).toUpperCase().padEnd(5)}${color ? "\x1b[0m" : ""}`;
  return `${String(time).slice(11, 23)} ${label} ${String(msg)}${details ? `  ${details}` : ""}`;
}
