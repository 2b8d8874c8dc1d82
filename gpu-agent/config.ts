/**
 * Owns the agent's settings: environment and flags as one whole, validated before anything starts.
 * Invariant: a wrong setting ends the start with one line that names it; nothing runs half-configured.
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { type PoolName, parseKey, poolNameOf, poolNameSchema } from "../src/protocol/ids.ts";
import { credentialsPath, DEFAULT_WORK_DIR, readCredentials, whyUnread } from "./credentials-file.ts";

const httpUrl = z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, ""));
/** The address as it is used, without slashes at its end; null: it is none. */
export function httpUrlOf(text: string): string | null {
  return httpUrl.safeParse(text).data ?? null;
}
const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const flag = z.enum(["true", "false"]).transform((text) => text === "true");

const settingsSchema = z.object({
  CONTROL_URL: httpUrl,
  AGENT_TOKEN: z.string().min(1),
  /** Comma list: one slot for each. */
  COMFYUI_URL: z
    .string()
    .transform((text) => text.split(",").map((part) => part.trim()))
    .pipe(z.array(httpUrl).min(1).max(64))
    .refine((urls) => new Set(urls).size === urls.length, "names one ComfyUI twice: each slot needs its own"),
  /** Comma list beside COMFYUI_URL: the folder that holds that ComfyUI's output, input and temp. */
  COMFYUI_DIR: z
    .string()
    .transform((text) => text.split(",").map((part) => resolve(part.trim())))
    .optional(),
  AGENT_NAME: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/)
    .default(
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, "-")
        .slice(0, 64) || "agent",
    ),
  POOL: poolNameSchema.optional(),
  WORK_DIR: z
    .string()
    .min(1)
    .default(DEFAULT_WORK_DIR)
    .transform((path) => resolve(path)),
  /** Read where AGENT_TOKEN is not given; default: agent.env in WORK_DIR. */
  CREDENTIALS_FILE: z
    .string()
    .min(1)
    .transform((path) => resolve(path))
    .optional(),
  LOG_FORMAT: z.enum(["json", "pretty"]).default("json"),
  LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info"),
  /** 0: no metrics endpoint. */
  METRICS_PORT: whole(0, 65_535).default(0),
  /** `yield`: a foreign prompt in ComfyUI is never touched and the slot waits for it. `own`: the box is ours alone. */
  SHARE: z.enum(["yield", "own"]).default("yield"),
  /** Seconds a SIGTERM waits for running jobs before it hands them back. */
  DRAIN_SECONDS: whole(0, 3_600).default(30),
  REQUIRE_SAFE_COMFYUI: flag.default(false),
  /** Seconds a run may take to stop before its ComfyUI counts as disobedient: longer than its slowest node. */
  STOP_GRACE_SECONDS: whole(1, 3_600).default(120),
  /** With less free space in WORK_DIR no work is taken. */
  MIN_FREE_DISK_MB: whole(0, 1_000_000_000).default(512),
  /** End after one attempt. */
  ONCE: flag.default(false),
});
export type Config = Omit<z.infer<typeof settingsSchema>, "POOL"> & { POOL: PoolName };
export const SETTING_NAMES = Object.keys(settingsSchema.shape);

export type Parsed =
  | { kind: "run"; config: Config }
  | { kind: "help" }
  | { kind: "print"; config: Config }
  | { kind: "wrong"; message: string };

/** Flags win over the environment, and that over the credentials file: `--control-url` over `CONTROL_URL`, and so on. */
export function readConfig(args: string[], env: Record<string, string | undefined>): Parsed {
  const flags = readFlags(args, SETTING_FLAGS);
  if (typeof flags === "string") return { kind: "wrong", message: flags };
  if (flags.get("help") !== undefined) return { kind: "help" };
  const parsed = configOf(settingsGiven(flags, env));
  if (typeof parsed === "string") return { kind: "wrong", message: parsed };
  return { kind: flags.get("print-config") === undefined ? "run" : "print", config: parsed };
}

export type Given = { [name: string]: string };

/** What was given, by name, unchecked. A token given otherwise leaves the credentials file unread. */
export function settingsGiven(flags: ReadonlyMap<string, string>, env: Record<string, string | undefined>): Given {
  const given: Given = {};
  for (const name of SETTING_NAMES) {
    const value = flags.get(flagOf(name)) ?? env[name];
    if (value !== undefined && value !== "") given[name] = value;
  }
  const kept = given.AGENT_TOKEN === undefined ? readCredentials(credentialsPath(given)) : null;
  return { ...kept, ...given };
}

/** The settings as a whole, or what is wrong with them. */
export function configOf(given: Given): Config | string {
  const parsed = settingsSchema.safeParse(given);
  if (!parsed.success) return complaint(parsed.error.issues, given);
  const pool = poolOfToken(parsed.data.AGENT_TOKEN);
  if (!pool) return "AGENT_TOKEN is not an agent token (it begins with ce_agent_)";
  if (parsed.data.POOL !== undefined && parsed.data.POOL !== pool)
    return `AGENT_TOKEN belongs to pool ${pool}, not to POOL=${parsed.data.POOL}`;
  const { COMFYUI_URL: urls, COMFYUI_DIR: dirs } = parsed.data;
  if (dirs !== undefined && new Set(dirs).size !== urls.length)
    return "COMFYUI_DIR is wrong: it needs one folder for each COMFYUI_URL, each its own";
  return { ...parsed.data, POOL: pool };
}

/** How the process ends. */
export const EXIT = {
  fine: 0,
  wrong: 1,
  refused: 2,
  outdated: 3,
  notSucceeded: 4,
  unanswered: 5,
  broken: 6,
  interrupted: 130,
  quit: 131,
} as const;

function flagOf(name: string): string {
  return name.toLowerCase().replaceAll("_", "-");
}

/** As a flag such a setting takes no value: it is on. */
function isSwitch(name: string): boolean {
  return name === "ONCE" || name === "REQUIRE_SAFE_COMFYUI";
}

export type FlagKinds = { [flag: string]: "boolean" | "string" };
/** Every setting as a flag; switches need no value. */
export const SETTING_FLAGS: FlagKinds = {
  ...Object.fromEntries(
    SETTING_NAMES.map((name) => [flagOf(name), isSwitch(name) ? ("boolean" as const) : ("string" as const)]),
  ),
  help: "boolean",
  "print-config": "boolean",
};

/** The flags by name, or what is wrong with them. */
export function readFlags(args: string[], kinds: FlagKinds): Map<string, string> | string {
  const options = Object.fromEntries(Object.entries(kinds).map(([name, type]) => [name, { type }]));
  try {
    const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
    return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
  } catch (error) {
    return error instanceof Error ? (error.message.split("\n")[0] ?? "unreadable flags") : "unreadable flags";
  }
}

function complaint(issues: readonly { path: PropertyKey[]; message: string }[], given: Record<string, string>): string {
  const [first] = issues;
  const name = String(first?.path[0] ?? "settings");
  const unread = given.AGENT_TOKEN === undefined && given[name] === undefined ? whyUnread(given) : null;
  if (unread !== null && (name === "AGENT_TOKEN" || name === "CONTROL_URL")) return unread;
  if (given[name] === undefined && name === "AGENT_TOKEN")
    return "AGENT_TOKEN is missing (enroll this box first: gpu-agent enroll --url URL --code CODE; or set it in the environment)";
  if (given[name] === undefined) return `${name} is missing (set it in the environment or as --${flagOf(name)})`;
  return `${name} is wrong: ${first?.message ?? "unreadable"}`;
}

/** The token carries its pool: a mismatch is told at the start rather than as a bare 401 later. */
export function poolOfToken(token: string): PoolName | null {
  const key = parseKey(token);
  return key?.fields.kind === "agent" ? poolNameOf(key.fields.account) : null;
}

/** Settings as they would be used, without the secret. */
export function printable(config: Config): string {
  return JSON.stringify({ ...config, AGENT_TOKEN: `${config.AGENT_TOKEN.slice(0, 10)}…` }, null, 2);
}

export const HELP = `gpu-agent: runs jobs of a Comfy Edge control plane on the ComfyUI beside it.

Commands, each with --help: enroll (a code for a token), status, pause, resume, drain, doctor (what is wrong here).
Without one it runs. Every setting is an environment variable or a flag (CONTROL_URL or --control-url):
  CONTROL_URL           https URL of the control plane
  AGENT_TOKEN           this agent's token (ce_agent_…); better kept in the file that enroll writes
  CREDENTIALS_FILE      where enroll writes CONTROL_URL and AGENT_TOKEN, read where AGENT_TOKEN is not given; default:
                        agent.env in WORK_DIR
  COMFYUI_URL           ComfyUI, e.g. http://127.0.0.1:8188; a comma list gives one slot for each
  COMFYUI_DIR           folder with that ComfyUI's output, input and temp: files of ended jobs are removed there; a comma
                        list beside COMFYUI_URL; default: none, nothing is removed
  AGENT_NAME            shown to operators; default: the host name
  POOL                  the pool, checked against the token's; default: the token's
  WORK_DIR              scratch directory, one agent each; default: .data/agent
  LOG_FORMAT            json (default) or pretty;  LOG_LEVEL  debug, info (default), warn, error
  METRICS_PORT          Prometheus endpoint on 127.0.0.1; default: 0, off
  SHARE                 yield (default): wait for prompts of others in the same ComfyUI; own: the box is ours
  DRAIN_SECONDS         how long SIGTERM waits for running jobs; default: 30
  STOP_GRACE_SECONDS    how long a run may take to stop before its ComfyUI counts as broken; default: 120
  MIN_FREE_DISK_MB      with less free space in WORK_DIR no work is taken; default: 512
  REQUIRE_SAFE_COMFYUI  true, or the flag alone: refuse to work beside a ComfyUI with known holes; default: false
  ONCE                  true, or the flag alone: end after one attempt; default: false
  --print-config        print the settings and exit;  --help  this text
Signals: SIGTERM and SIGINT finish what runs within DRAIN_SECONDS; a second one hands it back at once, a third ends at once.
SIGQUIT hands back at once. What is handed back is interrupted in ComfyUI and costs the job no attempt.
Exit codes: 0 drained, or --once and the job succeeded; 1 wrong settings; 2 token refused; 3 the agent must be updated;
4 --once and the job did not succeed; 5 the control plane does not answer a command; 6 doctor found something broken;
130 ended by a second signal; 131 ended by SIGQUIT.`;
