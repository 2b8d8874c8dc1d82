/**
 * Owns the command line of `npm start`.
 * Invariant: what it does not understand is refused in one line; nothing has been started by then.
 */
import { parseArgs } from "node:util";
import type { StackOptions } from "./stack.ts";

export const START_HELP = `npm start -- [--port N] [--data DIR] [--no-agent] [--agents N] [--var NAME=VALUE]...

  --port N          port of API, docs and local bucket; default 8787, 0 takes any free one
  --data DIR        where state, keys and logs live; default .data
  --no-agent        only the control plane: run the agent yourself with the token in stack.json
  --agents N        that many agents, each with a ComfyUI simulator of its own; default 1
  --var NAME=VALUE  a variable of the API, e.g. --var OFFERS_ENABLED=false

  COMFYUI_URL=http://127.0.0.1:8188 npm start   drives that ComfyUI instead of the simulator`;

type Chosen = Pick<StackOptions, "port" | "dataDir" | "agents" | "vars" | "comfyuiUrl">;

export function readStartOptions(
  args: string[],
  env: { COMFYUI_URL?: string | undefined },
): Chosen | "help" | { wrong: string } {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : "the command line cannot be read" };
  }
  if (values.help) return "help";
  const port = whole(values.port ?? "8787", 65_535);
  if (port === null) return { wrong: `--port takes a number from 0 to 65535, not ${values.port}` };
  const agents = whole(values["no-agent"] ? "0" : (values.agents ?? "1"), 16);
  if (agents === null) return { wrong: `--agents takes a number from 0 to 16, not ${values.agents}` };
  const vars: Record<string, string> = {};
  for (const text of values.var ?? []) {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined) return { wrong: `--var takes NAME=VALUE, not ${text}` };
    vars[name] = value;
  }
  const comfyuiUrl = comfyuiUrlOf(env.COMFYUI_URL);
  if (comfyuiUrl === "wrong") return { wrong: `COMFYUI_URL is not a URL: ${env.COMFYUI_URL}` };
  return { port, dataDir: values.data ?? ".data", agents, vars, comfyuiUrl };
}

function parse(args: string[]) {
  return parseArgs({
    args,
    options: {
      port: { type: "string" },
      data: { type: "string" },
      "no-agent": { type: "boolean" },
      agents: { type: "string" },
      var: { type: "string", multiple: true },
      help: { type: "boolean" },
    },
  }).values;
}

function whole(text: string, max: number): number | null {
  const value = Number(text);
  return /^\d+$/.test(text) && value <= max ? value : null;
}

/** Null when unset: then simulators are started. */
export function comfyuiUrlOf(text: string | undefined): string | null | "wrong" {
  if (text === undefined || text.trim() === "") return null;
  const urls = text.split(",").map((part) => part.trim().replace(/\/+$/, ""));
  return urls.every((url) => /^https?:\/\//.test(url) && URL.canParse(url)) ? urls.join(",") : "wrong";
}
