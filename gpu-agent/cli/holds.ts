/**
 * Owns `status`, `pause`, `resume` and `drain`: how this agent stands, by the word of its pool.
 * Invariant: a hold is kept by the pool, not by the process: it outlives restarts, and holds whether or not the agent runs.
 */
import type { AgentSelf } from "../../src/protocol/agent-self.ts";
import { monotonicMs, pause as wait } from "../clock.ts";
import { type Given, httpUrlOf, poolOfToken } from "../config.ts";
import { whyUnread } from "../credentials-file.ts";
import { type CommandInput, done, failed, type Outcome, wrong } from "./command.ts";
import { ControlSelf } from "./control-self.ts";

const POLL_MS = 500;
/** As long as a lease: sockets of a large pool come back within 30 s after a deploy. */
const AWAY_MS = 60_000;
const LONGEST_MS = 30 * 86_400_000;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export function status({ given }: CommandInput): Promise<Outcome> {
  return asking(given, (control) => control.read());
}

export async function pause({ flags, given }: CommandInput): Promise<Outcome> {
  const text = flags.get("for");
  const ms = text === undefined ? null : durationMs(text);
  if (ms === "wrong") return wrong("--for is a time such as 45m, 3h or 2d, at most 30d");
  return asking(given, async (control) => {
    if (ms === null) return control.pause(null);
    // By the control plane's clock: this box's may be wrong.
    const { now } = await control.read();
    return control.pause(new Date(Date.parse(now) + ms).toISOString());
  });
}

export function resume({ given }: CommandInput): Promise<Outcome> {
  return asking(given, (control) => control.resume());
}

export function drain({ flags, given, say }: CommandInput): Promise<Outcome> {
  return asking(given, async (control) => {
    let self = await control.drain();
    let said = "";
    let seen = monotonicMs();
    for (; flags.get("wait") !== undefined; self = await control.read()) {
      if (self.online) seen = monotonicMs();
      const busy = self.processes.flatMap(({ slots }) => slots.filter(({ job_id }) => job_id !== null)).length;
      // One that is not connected may be coming back with what it runs; what it had is nobody's once its lease is over.
      if (busy === 0 && (self.online || monotonicMs() - seen > AWAY_MS)) break;
      const line = self.online ? `waiting for ${busy} of its jobs` : "not connected: waiting a minute for its word";
      if (line !== said) say(line);
      said = line;
      await wait(POLL_MS);
    }
    return self;
  });
}

async function asking(given: Given, ask: (control: ControlSelf) => Promise<AgentSelf>): Promise<Outcome> {
  const { CONTROL_URL: address, AGENT_TOKEN: token } = given;
  const unread = token === undefined ? whyUnread(given) : null;
  if (unread !== null) return wrong(unread);
  if (address === undefined || token === undefined || poolOfToken(token) === null)
    return wrong(
      "this box has no token yet: gpu-agent enroll --url URL --code CODE, or set CONTROL_URL and AGENT_TOKEN",
    );
  const url = httpUrlOf(address);
  if (url === null) return wrong("CONTROL_URL is wrong: it is the control plane, e.g. https://api.example.com");
  const control = new ControlSelf(url, token);
  try {
    const self = await ask(control);
    return done(linesOf(self), self);
  } catch (error) {
    return failed(error, url);
  } finally {
    await control.close();
  }
}

export function durationMs(text: string): number | "wrong" {
  const [, count, unit] = /^(\d{1,7})([smhd])$/.exec(text) ?? [];
  if (count === undefined || (unit !== "s" && unit !== "m" && unit !== "h" && unit !== "d")) return "wrong";
  const ms = Number(count) * UNIT_MS[unit];
  return ms > 0 && ms <= LONGEST_MS ? ms : "wrong";
}

export function linesOf({ agent, name, pool, online, hold, processes }: AgentSelf): string[] {
  const slots = processes.flatMap(({ slots: all, version }) =>
    all.map(({ slot, state, job_id, reason }) =>
      [`  slot ${slot}`, state, job_id, reason, `(version ${version})`].filter((part) => part !== null).join(" "),
    ),
  );
  return [`${name} (${agent}) of pool ${pool}: ${online ? "connected" : "not connected"}, ${standing(hold)}`, ...slots];
}

const WORDS = { operator: "an operator", agent: "its own word", pool: "a pause of its pool" } as const;

function standing(hold: AgentSelf["hold"]): string {
  if (hold === null) return "takes work";
  const until = hold.until === null ? "until resumed" : `until ${hold.until}`;
  return `${hold.kind === "pause" ? "paused" : "drained"} ${until} by ${WORDS[hold.by]}`;
}
