/**
 * Owns `npm start`: the whole system on this machine until Ctrl-C.
 * Invariant: it exits 0 after a clean stop with nothing left running, 1 with one line that says what is wrong.
 */

import { banner } from "./stack/banner.ts";
import { untilSignal } from "./stack/signals.ts";
import { startStack } from "./stack/stack.ts";
import { readStartOptions, START_HELP } from "./stack/start-options.ts";

async function main(): Promise<number> {
  const options = readStartOptions(process.argv.slice(2), process.env);
  if (options === "help") {
    console.log(START_HELP);
    return 0;
  }
  if ("wrong" in options) {
    console.error(options.wrong);
    return 1;
  }
  const stop = untilSignal();
  const say = (line: string) => console.log(`  ${line}`);
  const stack = await startStack({ ...options, say });
  // Miniflare installs handlers that exit at once; ours ends the children first.
  stop.takeOver();
  try {
    console.log(banner(stack, await Promise.race([stack.check(), stop.signal.then(() => [])])));
    await stop.signal;
    console.log("\n  stopping…");
  } finally {
    await stack.stop();
  }
  console.log("  stopped, nothing is left running");
  return 0;
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  return 1;
});
process.exit();
