/**
 * Owns the renewal of leases, in a thread of its own so that a busy main thread loses no job.
 * Invariant: a deadline is counted from before the renewal was sent that earned it; once it has passed the lease is never
 * renewed again, whatever the control plane would say.
 */
import { parentPort, workerData } from "node:worker_threads";
import { HEADER_LEASE, HEADER_PROTOCOL, type RenewRequest, renewAnswerSchema } from "../src/protocol/agent-api.ts";
import { AGENT_PROTOCOL } from "../src/protocol/version.ts";
import { jittered, leaseClockMs } from "./clock.ts";
import { HttpOrigin } from "./http-origin.ts";
import type { FromThread, ThreadData, ToThread } from "./lease-messages.ts";

/** A main thread silent for this many leases is dead, not busy: its jobs belong to others. */
const DEAD_MAIN_LEASES = 5;
const MIN_RETRY_MS = 100;
/** Timers stand still while the machine sleeps; so often the deadlines are held against the clock that does not. */
const WAKE_CHECK_MS = 500;

type Held = {
  id: number;
  lease: string;
  deadline: Float64Array;
  lease_ms: number;
  renew_every_ms: number;
  socket_grace_ms: number;
  report: RenewRequest;
  /** While the progress socket is down the control plane may shorten the lease to the grace at any time. */
  socketDown: boolean;
  timer: NodeJS.Timeout | null;
  fence: NodeJS.Timeout | null;
  calling: boolean;
  again: boolean;
};

/** The boundary to the thread that started us: its first word, given by lease-keeper. */
function given(): ThreadData {
  return workerData as ThreadData;
}

const { control_url, token, life } = given();
const heartbeat = new Int32Array(life);
const held = new Map<number, Held>();
const http = new HttpOrigin(
  control_url,
  { authorization: `Bearer ${token}`, [HEADER_PROTOCOL]: String(AGENT_PROTOCOL), "content-type": "application/json" },
  8,
);
let lastBeat = { count: 0, at: leaseClockMs() };

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

parentPort?.on("message", (message: ToThread) => {
  if (message.type === "hold") hold(message);
  else heard(message);
});

function heard(message: Exclude<ToThread, { type: "hold" }>): void {
  const lease = held.get(message.id);
  if (!lease) return;
  switch (message.type) {
    case "report":
      lease.report = message.report;
      if (message.now) void renew(lease);
      break;
    case "socket_lost":
      // Each failed try to have it again is told too: it has been lost since then, and what was renewed since then counts.
      if (lease.socketDown) break;
      lease.socketDown = true;
      moveDeadline(lease, Math.min(deadlineOf(lease), message.alive_at + lease.socket_grace_ms));
      void renew(lease);
      break;
    case "socket_up":
      // The first opening is no news; after a loss the control plane must learn at once that the attempt lives.
      if (lease.socketDown) void renew(lease);
      lease.socketDown = false;
      break;
    case "drop":
      drop(lease);
      break;
  }
}

function hold(message: ToThread & { type: "hold" }): void {
  const lease: Held = {
    id: message.id,
    lease: message.lease,
    deadline: new Float64Array(message.deadline),
    lease_ms: message.expires_in_ms,
    renew_every_ms: message.renew_every_ms,
    socket_grace_ms: message.socket_grace_ms,
    report: message.report,
    socketDown: false,
    timer: null,
    fence: null,
    calling: false,
    again: false,
  };
  held.set(lease.id, lease);
  moveDeadline(lease, message.sent_at + message.expires_in_ms);
  schedule(lease, message.sent_at);
}

function drop(lease: Held): void {
  held.delete(lease.id);
  if (lease.timer) clearTimeout(lease.timer);
  if (lease.fence) clearTimeout(lease.fence);
}

function deadlineOf(lease: Held): number {
  return lease.deadline[0] ?? 0;
}

/** The fence falls a little before the deadline: what was begun must have stopped when it passes. */
function marginOf(lease: Held): number {
  return Math.max(30, Math.min(2_000, lease.lease_ms * 0.1));
}

function moveDeadline(lease: Held, to: number): void {
  lease.deadline[0] = to;
  if (lease.fence) clearTimeout(lease.fence);
  lease.fence = setTimeout(() => fenced(lease), Math.max(0, to - marginOf(lease) - leaseClockMs()));
}

setInterval(() => {
  const now = leaseClockMs();
  for (const lease of held.values()) if (now >= deadlineOf(lease) - marginOf(lease)) fenced(lease);
}, WAKE_CHECK_MS).unref();

function fenced(lease: Held): void {
  if (!held.has(lease.id)) return;
  drop(lease);
  tell({ type: "fenced", id: lease.id });
}

/** The next renewal: as asked, but at least three to a lease; three to a grace while the socket is down. */
function schedule(lease: Held, from: number): void {
  if (lease.timer) clearTimeout(lease.timer);
  const every = Math.min(lease.renew_every_ms, lease.lease_ms / 3);
  const period = lease.socketDown ? Math.min(every, lease.socket_grace_ms / 3) : every;
  lease.timer = setTimeout(() => void renew(lease), Math.max(0, from + period - leaseClockMs()));
}

async function renew(lease: Held): Promise<void> {
  // One renewal to come at a time: a forgotten timer would renew what was dropped.
  if (lease.timer) clearTimeout(lease.timer);
  if (lease.calling) {
    lease.again = true;
    return;
  }
  if (!mainLives(lease)) return;
  lease.calling = true;
  const sentAt = leaseClockMs();
  const verdict = await renewOnce(lease).catch((error: unknown) => (error instanceof Error ? error.message : "failed"));
  lease.calling = false;
  if (!held.has(lease.id)) return;
  if (typeof verdict === "string") {
    tell({ type: "retry", id: lease.id, what: verdict });
    lease.timer = setTimeout(
      () => void renew(lease),
      jittered(Math.max(MIN_RETRY_MS, Math.min(1_000, lease.lease_ms / 20))),
    );
    return;
  }
  if (verdict.answer !== "continue") {
    if (verdict.answer !== "cancel") drop(lease);
    tell({ type: "answer", id: lease.id, answer: verdict.answer });
  } else tell({ type: "renewed", id: lease.id });
  if (held.has(lease.id)) earned(lease, sentAt, verdict.expires_in_ms);
}

function earned(lease: Held, sentAt: number, expiresInMs: number): void {
  if (expiresInMs > 0) {
    lease.lease_ms = expiresInMs;
    moveDeadline(lease, sentAt + (lease.socketDown ? Math.min(expiresInMs, lease.socket_grace_ms) : expiresInMs));
  }
  if (lease.again) {
    lease.again = false;
    void renew(lease);
  } else schedule(lease, sentAt);
}

type Verdict = { answer: "continue" | "cancel" | "lost" | "unauthorized" | "outdated"; expires_in_ms: number };

/** Throws when there was no usable answer: the same renewal is then sent again until the fence falls. */
async function renewOnce(lease: Held): Promise<Verdict> {
  const answer = await http.call("POST", "agent/v1/leases/renew", {
    headers: { [HEADER_LEASE]: lease.lease },
    body: JSON.stringify(lease.report),
    timeout_ms: Math.max(200, Math.min(10_000, lease.lease_ms / 4)),
  });
  if (answer.status === 401 || answer.status === 403) return { answer: "unauthorized", expires_in_ms: 0 };
  if (answer.status === 426) return { answer: "outdated", expires_in_ms: 0 };
  if (answer.status === 409) return { answer: "lost", expires_in_ms: 0 };
  // What ComfyUI made us say is not worth a lease: the next renewal goes without it.
  if (answer.status === 400 || answer.status === 422)
    lease.report = { phase: lease.report.phase, progress: lease.report.progress, progress_detail: null };
  if (answer.status !== 200) throw new Error(`renew: status ${answer.status}`);
  const body = renewAnswerSchema.parse(JSON.parse(answer.text));
  return { answer: body.answer, expires_in_ms: body.lease_expires_in_ms };
}

function mainLives(lease: Held): boolean {
  const count = Atomics.load(heartbeat, 0);
  if (count !== lastBeat.count) lastBeat = { count, at: leaseClockMs() };
  return leaseClockMs() - lastBeat.at < DEAD_MAIN_LEASES * Math.max(lease.lease_ms, lease.renew_every_ms);
}
