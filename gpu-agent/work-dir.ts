/**
 * Owns the scratch directory: one running agent each, one folder an attempt, nothing left of earlier lives.
 * Invariant: the lock is a listening socket, so that it dies with its process, however that dies.
 */
import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class WorkDir {
  readonly path: string;
  readonly #lock: Server;

  private constructor(path: string, lock: Server) {
    this.path = path;
    this.#lock = lock;
  }

  /** Null when another agent uses the directory. Throws when it cannot be written. */
  static async open(path: string): Promise<WorkDir | null> {
    await mkdir(path, { recursive: true });
    const lock = await lockOf(path);
    if (!lock) return null;
    await rm(join(path, "attempts"), { recursive: true, force: true });
    await mkdir(join(path, "attempts"), { recursive: true });
    return new WorkDir(path, lock);
  }

  async attempt(name: string): Promise<string> {
    const dir = join(this.path, "attempts", name);
    await mkdir(dir, { recursive: true });
    return dir;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#lock.close(resolve));
  }
}

async function lockOf(path: string): Promise<Server | null> {
  const name = `comfy-edge-agent-${createHash("sha256").update(path).digest("hex").slice(0, 16)}`;
  const address = process.platform === "win32" ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.sock`);
  const first = await listenOn(address);
  if (first || (await answers(address))) return first;
  // The file of a process that was killed: nobody listens behind it.
  await rm(address, { force: true });
  return listenOn(address);
}

function listenOn(address: string): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", () => resolve(null));
    server.listen(address, () => resolve(server));
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
