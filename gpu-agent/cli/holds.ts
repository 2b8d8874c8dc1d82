/**
 * Owns `status`, `pause`, `resume` and `drain`: how this agent stands, by the word of its pool.
 * Invariant: a hold is kept by the pool, not by the process: it outlives restarts, and holds whether or not the agent runs.
 */
import type { AgentSelf } from "../../src/protocol/agent-self.ts";
import { pause as wait } from "../clock.ts";
import { type Given, poolOfToken } from "../config.ts";
import { type CommandInput, done, failed, type Outcome, wrong } from "./command.ts";
import { ControlSelf } from "./control-self.ts";

const POLL_MS = 500;
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
    for (let told = -1; flags.get("wait") !== undefined; self = await control.read()) {
      const busy = self.processes.flatMap(({ slots }) => slots.filter(({ job_id }) => job_id !== null)).length;
      if (busy === 0) break;
      if (busy !== told) say(`waiting for ${busy} of its jobs`);
      told = busy;
      await wait(POLL_MS);
    }
    return self;
  });
}

async function asking(given: Given, ask: (control: ControlSelf) => Promise<AgentSelf>): Promise<Outcome> {
  const { CONTROL_URL: url, AGENT_TOKEN: token } = given;
  if (url === undefined || token === undefined || poolOfToken(token) === null)
    return wrong(
      "this box has no token yet: gpu-agent enroll --url URL --code CODE, or set CONTROL_URL and AGENT_TOKEN",
    );
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
