/**
 * Owns the commands of `gpu-agent`: which there are, their flags and help, how an outcome is printed.
 * Invariant: a word that is no command runs nothing; every command has --help and --json and ends with a documented exit code.
 */
import { EXIT, type FlagKinds, readFlags, SETTING_FLAGS, settingsGiven } from "../config.ts";
import { type CommandInput, type Outcome, wrong } from "./command.ts";
import { doctor } from "./doctor.ts";
import { enroll } from "./enroll.ts";
import { drain, pause, resume, status } from "./holds.ts";

type Command = {
  run: (input: CommandInput) => Promise<Outcome>;
  flags: FlagKinds;
  usage: string;
  help: string;
};

const COMMANDS: { readonly [name: string]: Command } = {
  enroll: {
    run: enroll,
    flags: { url: "string", code: "string", force: "boolean" },
    usage: "enroll --url URL --code CODE",
    help: `Trades the code that an operator made for this agent's token, and keeps it in CREDENTIALS_FILE (default: agent.env in
WORK_DIR), readable by its owner alone. A code is good once, for 15 minutes; when no answer comes the same command, run again
here, is safe.
  --force   put the new agent in place of one that this box has`,
  },
  status: { run: status, flags: {}, usage: "status", help: "Says how this agent stands, by the word of its pool." },
  pause: {
    run: pause,
    flags: { for: "string" },
    usage: "pause [--for 3h]",
    help: `Takes no new work; what runs goes on. Kept by the pool: a restart does not end it.
  --for     45m, 3h, 2d, at most 30d; default: until resumed`,
  },
  resume: {
    run: resume,
    flags: {},
    usage: "resume",
    help: "Ends this agent's own pause or drain. One that an operator set stays, and is told.",
  },
  drain: {
    run: drain,
    flags: { wait: "boolean" },
    usage: "drain [--wait]",
    help: `Takes no new work, because the machine is about to be stopped; resume ends it.
  --wait    return when no job is left; an agent that is not connected is waited for for a minute`,
  },
  doctor: {
    run: doctor,
    flags: {},
    usage: "doctor",
    help: `Looks at everything this box needs: settings, credentials, control plane, token, clock, control socket, a test upload, disk,
and of each ComfyUI its version, GPU, models, custom nodes and folders. Says what to do about what is not well.`,
  },
};

const COMMON = `Settings are those of gpu-agent (--help), from the environment, flags or the credentials file.
  --json    one JSON object on standard output
Exit codes: 0 done (doctor: ready for work); 1 wrong use; 2 the code or token was refused; 3 the agent must be updated;
5 the control plane does not answer; 6 doctor found something broken.`;

/** Null: no command was named, the agent is to run. */
export async function runCommand(args: string[], env: Record<string, string | undefined>): Promise<number | null> {
  const [name, ...rest] = args;
  if (name === undefined || name.startsWith("-")) return null;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  const isJson = rest.includes("--json");
  if (!command)
    return print(wrong(`there is no command ${name} (there are: ${Object.keys(COMMANDS).join(", ")})`), isJson);
  const flags = readFlags(rest, { ...SETTING_FLAGS, ...command.flags, json: "boolean" });
  if (typeof flags === "string") return print(wrong(flags), isJson);
  if (flags.get("help") !== undefined) {
    process.stdout.write(`gpu-agent ${command.usage} [--json]\n\n${command.help}\n\n${COMMON}\n`);
    return EXIT.fine;
  }
  const given = settingsGiven(flags, env);
  const isFromFile = flags.get("agent-token") === undefined && !env.AGENT_TOKEN && given.AGENT_TOKEN !== undefined;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return print(await command.run({ flags, given, say, isFromFile }), isJson);
}

/** What could not be done goes to standard error; what the doctor found does not. */
function print({ code, lines, value }: Outcome, isJson: boolean): number {
  const isTold = code === EXIT.fine || code === EXIT.broken;
  if (isJson) process.stdout.write(`${JSON.stringify(value)}\n`);
  else (isTold ? process.stdout : process.stderr).write(`${lines.join("\n")}\n`);
  return code;
}
