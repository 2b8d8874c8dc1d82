/**
 * Owns the simulator as a whole: the listener, and the machine behind it, which may die and come back on the same port.
 * Invariant: after `close` nothing of it is left open, and no timer of it keeps a process alive.
 */
import { readFileSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { Faults } from "./faults.ts";
import { type Call, createHttpServer, plain, type Reply, type Routes } from "./http-server.ts";
import { acceptSockets, listen } from "./listener.ts";
import { type Crash, Machine } from "./machine.ts";
import { completeOptions, type SimulatorOptions, scratchFolder } from "./options.ts";
import { fileRoutes } from "./routes/file-routes.ts";
import { jobsRoutes } from "./routes/jobs-routes.ts";
import { promptRoutes } from "./routes/prompt-routes.ts";
import { simulatorRoutes } from "./routes/simulator-routes.ts";
import { statusRoutes } from "./routes/status-routes.ts";
import { uploadRoutes } from "./routes/upload-routes.ts";
import { Timeline } from "./timeline.ts";
import { work } from "./worker.ts";

export type Simulator = {
  readonly url: string;
  readonly port: number;
  readonly options: SimulatorOptions;
  readonly faults: Faults;
  readonly timeline: Timeline;
  /** Dies now, comes back after `downMs`. Resolves when it answers again. */
  crash(downMs?: number): Promise<void>;
  close(): Promise<void>;
};

/**
 * Starts one in this process. Without options: a free port, the older line, and folders of its own, which go when it is closed.
 * `exit` is called by a crash that asks for the end of the whole process.
 */
export async function startSimulator(
  given: Partial<SimulatorOptions> = {},
  exit: () => void = () => undefined,
): Promise<Simulator> {
  const isComplete = given.outputDir !== undefined && given.inputDir !== undefined && given.tempDir !== undefined;
  const scratch = isComplete ? null : scratchFolder();
  const running = new Running(completeOptions(given, scratch ?? ""), { exit, scratch });
  await running.start();
  return running;
}

const FAREWELL_MS = 150;
const FAULTS_EVERY_MS = 200;

class Running implements Simulator {
  readonly options: SimulatorOptions;
  readonly faults = new Faults();
  readonly timeline = new Timeline();
  port = 0;
  private readonly exit: () => void;
  private readonly scratch: string | null;
  private machine: Machine;
  private server: Server | null = null;
  /** Which life this is, from 1. */
  private lives = 0;
  private returning: { timer: NodeJS.Timeout; done: Promise<void>; resolve: () => void } | null = null;
  private isClosed = false;
  private faultsText = "";
  private faultsTimer: NodeJS.Timeout | undefined;

  constructor(options: SimulatorOptions, { exit, scratch }: { exit: () => void; scratch: string | null }) {
    this.options = options;
    this.exit = exit;
    this.scratch = scratch;
    this.machine = this.newMachine();
  }

  get url(): string {
    return `http://${this.options.host}:${this.port}`;
  }

  private newMachine(): Machine {
    this.lives += 1;
    const { options, faults, timeline } = this;
    return new Machine({ options, faults, timeline, crash: (how) => this.die(how) });
  }

  async start(): Promise<void> {
    const file = this.options.faultsFile;
    if (file !== null) {
      this.readFaults(file);
      this.faultsTimer = setInterval(() => this.readFaults(file), FAULTS_EVERY_MS);
      this.faultsTimer.unref();
    }
    if (this.options.startMs > 0) await new Promise((resolve) => setTimeout(resolve, this.options.startMs));
    await this.live();
  }

  /** The file holds all knobs: what it no longer names goes out. An unreadable file changes nothing. */
  private readFaults(file: string): void {
    try {
      const text = readFileSync(file, "utf8");
      if (text === this.faultsText) return;
      this.faultsText = text;
      const plan: unknown = JSON.parse(text);
      if (typeof plan !== "object" || plan === null) return;
      this.faults.reset();
      this.faults.set({ ...plan });
    } catch (error) {
      process.stderr.write(`faults file: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }

  private async live(): Promise<void> {
    const server = createHttpServer(this.routes(), this.options.maxUploadBytes, (call) => this.gate(call));
    acceptSockets(server, () => this.machine);
    this.server = server;
    this.port = await listen(server, this.port || this.options.port, this.options.host);
    this.timeline.note("up");
    work(this.machine).catch((error: unknown) => {
      process.stderr.write(`simulator worker: ${error instanceof Error ? error.stack : String(error)}\n`);
    });
  }

  private routes(): Routes {
    const machine = () => this.machine;
    return {
      ...simulatorRoutes(this.faults, this.timeline, () => ({
        line: this.options.line,
        life: this.lives,
        machine: this.machine,
        crashNow: () => this.crashIfDue(),
      })),
      ...promptRoutes(machine),
      ...fileRoutes(machine),
      ...uploadRoutes(machine),
      ...statusRoutes(machine),
      ...(this.machine.isNew ? jobsRoutes(machine) : {}),
    };
  }

  /** A crash asked for at once; the answer to the asker leaves first. */
  private crashIfDue(): void {
    setImmediate(() => {
      const crash = this.faults.crashAt("now");
      if (crash) this.die(crash);
    });
  }

  private async gate(call: Call): Promise<Reply | "reset" | null> {
    if (call.path.startsWith("/sim/")) return null;
    const path = call.path.startsWith("/api/") ? call.path.slice(4) : call.path;
    if (this.machine.isPoisoned && path === "/system_stats") return plain(500, "500 Internal Server Error");
    const fault = this.faults.route(call.method, path);
    if (fault === null) return null;
    if (fault.answer === "reset") return "reset";
    if (fault.answer !== "hang") return plain(fault.answer, `${fault.answer}: simulated`);
    await new Promise((resolve) => this.machine.ended.addEventListener("abort", resolve));
    return "reset";
  }

  private die({ downMs, exit }: Crash): void {
    if (this.machine.isStopped) return;
    this.timeline.note("down");
    if (exit) this.exit();
    this.machine.stop();
    const closed = this.stopListening(true);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      closed.then(() => this.comeBack()).then(resolve, resolve);
    }, downMs);
    this.returning = { timer, done: promise, resolve };
  }

  private async comeBack(): Promise<void> {
    this.returning = null;
    if (this.isClosed) return;
    this.machine = this.newMachine();
    await this.live();
  }

  async crash(downMs = 0): Promise<void> {
    this.die({ downMs, exit: false });
    await this.returning?.done;
  }

  /** At once, as a process that dies, or after the answers under way, for at most FAREWELL_MS. */
  private async stopListening(atOnce: boolean): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const cut = () => server.closeAllConnections();
    if (atOnce) cut();
    const timer = setTimeout(cut, FAREWELL_MS);
    server.closeIdleConnections();
    await closed;
    clearTimeout(timer);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.faultsTimer);
    if (this.returning) {
      clearTimeout(this.returning.timer);
      this.returning.resolve();
    }
    this.machine.stop();
    await this.stopListening(false);
    if (this.scratch !== null) rmSync(this.scratch, { recursive: true, force: true });
  }
}
