/**
 * Owns the command line of `npm run demo`, and reading a workflow file.
 * Invariant: wrong input is refused in one line before anything is started.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { comfyuiUrlOf } from "../stack/start-options.ts";
import { DemoFailure } from "./failure.ts";

export const DEMO_HELP = `npm run demo -- [SCENARIO] [--prompt TEXT] [--workflow FILE] [--count N] [--data DIR]

  (no scenario)     one picture, with live progress
  live              a long job to watch in a browser, until Ctrl-C
  burst             8 jobs at once against a limit of 5
  cancel            a job stopped in mid-run
  crash             an agent killed in mid-run, another one rescues its job

  --prompt TEXT     what to draw
  --workflow FILE   a workflow in API format instead (ComfyUI: Workflow > Export (API))
  --count N         that many pictures, 1 to 8
  --data DIR        the folder of a running stack, or of the one that is started; default .data

  COMFYUI_URL=http://127.0.0.1:8188 npm run demo   drives that ComfyUI instead of the simulator`;

const SCENARIOS = ["picture", "live", "burst", "cancel", "crash"] as const;
export type Scenario = (typeof SCENARIOS)[number];

export type DemoOptions = {
  scenario: Scenario;
  prompt: string;
  /** Text of an API-format graph, verbatim; null: the prompt is drawn. */
  workflow: string | null;
  count: number;
  dataDir: string;
  comfyuiUrl: string | null;
};

const DEFAULT_PROMPT = "a lighthouse on a cliff at dusk, calm sea, long exposure";

export function readDemoOptions(args: string[], env: { COMFYUI_URL?: string | undefined }): DemoOptions | "help" {
  const { values, positionals } = parsed(args);
  if (values.help) return "help";
  const [name = "picture", ...more] = positionals;
  const scenario = SCENARIOS.find((known) => known === name);
  if (!scenario || more.length > 0)
    throw new DemoFailure(`there is no scenario ${positionals.join(" ")}; there are live, burst, cancel and crash`);
  if (values.prompt !== undefined && values.workflow !== undefined)
    throw new DemoFailure("--prompt and --workflow exclude each other");
  const count = /^[1-8]$/.test(values.count ?? "1") ? Number(values.count ?? "1") : null;
  if (count === null) throw new DemoFailure(`--count takes a number from 1 to 8, not ${values.count}`);
  if (values.prompt?.trim() === "") throw new DemoFailure("--prompt is empty");
  const comfyuiUrl = comfyuiUrlOf(env.COMFYUI_URL);
  if (comfyuiUrl === "wrong") throw new DemoFailure(`COMFYUI_URL is not a URL: ${env.COMFYUI_URL}`);
  return {
    scenario,
    prompt: values.prompt ?? DEFAULT_PROMPT,
    workflow: values.workflow === undefined ? null : readWorkflow(values.workflow),
    count,
    dataDir: values.data ?? ".data",
    comfyuiUrl,
  };
}

function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        prompt: { type: "string" },
        workflow: { type: "string" },
        count: { type: "string" },
        data: { type: "string" },
        help: { type: "boolean" },
      },
    });
  } catch (error) {
    throw new DemoFailure(error instanceof Error ? error.message : "the command line cannot be read");
  }
}

/** The file's text, unchanged, once it looks like an API-format graph. The API checks it in earnest. */
function readWorkflow(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw new DemoFailure(missing ? `there is no file ${path}` : `${path} cannot be read`);
  }
  let graph: unknown;
  try {
    graph = JSON.parse(text);
  } catch {
    throw new DemoFailure(`${path} is not JSON`);
  }
  if (typeof graph !== "object" || graph === null || Array.isArray(graph))
    throw new DemoFailure(`${path} is not a ComfyUI workflow`);
  if ("nodes" in graph && Array.isArray(graph.nodes))
    throw new DemoFailure(`${path} is in ComfyUI's UI format; export it with Workflow > Export (API)`);
  const nodes: unknown[] = Object.values(graph);
  const isNode = (node: unknown) => typeof node === "object" && node !== null && "class_type" in node;
  if (nodes.length === 0 || !nodes.every(isNode))
    throw new DemoFailure(`${path} is not a ComfyUI workflow in API format`);
  return text;
}
