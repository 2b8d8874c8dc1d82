/**
 * Owns the command `npm run provision`: makes what a deploy needs in a Cloudflare account, and says what remains.
 * Invariant: safe to run again; `--dry-run` changes nothing and needs no credentials.
 */
import { parseArgs } from "node:util";
import { poolNameSchema } from "../../src/protocol/ids.ts";
import { CloudflareApi, type Credentials } from "./cloudflare-api.ts";
import { type Desired, deadLettersOf, desiredFrom } from "./desired.ts";
import { planFor } from "./plan.ts";
import { poolLines, poolQueue, remaining } from "./remaining.ts";

const HELP = `npm run provision -- [pool NAME] [--dry-run]

Makes what wrangler.toml names in a Cloudflare account: queues, their pull consumers and dead-letter queues, the bucket with its
lifecycle and CORS rules, the D1 database. Says what remains. Running it again changes only what is missing or other.

  pool NAME    makes the queue of one more pool and prints the lines that make it part of the deploy
  --dry-run    prints everything it would do; without credentials as for an empty account

CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_TOKEN (Queues, R2, D1: edit; Workers scripts: read)`;

type Print = (line: string) => void;

export async function provision(argv: string[], env: NodeJS.ProcessEnv, print: Print): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { "dry-run": { type: "boolean", default: false }, help: { type: "boolean", default: false } },
  });
  if (values.help) {
    print(HELP);
    return 0;
  }
  const pool = poolOf(positionals);
  const isDry = values["dry-run"] === true;
  const credentials = credentialsOf(env);
  if (!credentials && !isDry) throw new Error("set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, or use --dry-run");
  const api = new CloudflareApi(credentials ?? { base: "", account: "", token: "" });
  const seen = credentials ? api : null;
  const desired = pool === null ? desiredFrom() : withPool(desiredFrom(), pool);
  const { steps, found } = await planFor(desired, seen, api);
  for (const what of found) print(`there   ${what}`);
  for (const { what, apply } of steps) {
    print(`${isDry ? "would make" : "make   "} ${what}`);
    if (!isDry) await apply();
  }
  if (steps.length === 0) print("nothing to make");
  print("");
  for (const line of await after(desired, seen, pool)) print(line);
  return 0;
}

async function after(desired: Desired, api: CloudflareApi | null, pool: string | null): Promise<string[]> {
  if (pool === null) return ["What remains:", ...(await remaining(desired, api))];
  const queues = (await api?.queues()) ?? [];
  const id = queues.find(({ queue_name }) => queue_name === poolQueue(pool))?.queue_id;
  return ["Add to wrangler.toml, then deploy:", ...poolLines(pool, id ?? `<the id of queue ${poolQueue(pool)}>`)];
}

/** Only what the new pool needs, beside what is there already. */
function withPool(desired: Desired, pool: string): Desired {
  const queue = poolQueue(pool);
  return {
    ...desired,
    queues: [...new Set([...desired.queues, queue, deadLettersOf(queue)])].sort(),
    pulled: [...desired.pulled.filter((each) => each.queue !== queue), { queue, pool, queue_id: "" }],
  };
}

function poolOf(positionals: string[]): string | null {
  if (positionals.length === 0) return null;
  const [word, name] = positionals;
  const pool = poolNameSchema.safeParse(name);
  if (word !== "pool" || positionals.length !== 2 || !pool.success)
    throw new Error("the one command is `pool NAME`; a name has 1 to 16 small letters and digits (see --help)");
  return pool.data;
}

function credentialsOf(env: NodeJS.ProcessEnv): Credentials | null {
  const { CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: token } = env;
  if (!account || !token) return null;
  return { account, token, base: env.CLOUDFLARE_API_BASE ?? "https://api.cloudflare.com/client/v4" };
}

if (import.meta.main)
  provision(process.argv.slice(2), process.env, (line) => process.stdout.write(`${line}\n`)).catch((error: unknown) => {
    process.stderr.write(`provision: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
