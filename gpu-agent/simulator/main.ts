#!/usr/bin/env node
/**
 * Owns the simulator as a program.
 * Invariant: the first line on stdout is JSON, `{"ready":true,"url":…,"port":…,"line":…}`, written once the port answers.
 */
import { HELP, readCommandLine } from "./options.ts";
import { startSimulator } from "./simulator.ts";

/** What the kernel's out-of-memory killer leaves behind. */
const KILLED = 137;

const options = readCommandLine(process.argv.slice(2));
if (typeof options === "string") {
  const isHelp = options === "help";
  process.stderr.write(isHelp ? HELP : `${options}\n\n${HELP}`);
  process.exit(isHelp ? 0 : 2);
}

const simulator = await startSimulator(options, () => process.exit(KILLED));
const { url, port } = simulator;
process.stdout.write(`${JSON.stringify({ ready: true, url, port, line: options.line, pid: process.pid })}\n`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    void simulator.close().finally(() => process.exit(0));
  });
}
