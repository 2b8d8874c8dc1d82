/**
 * Owns a reader of a job's stream as a careful client writes it, by WebSocket or SSE, whose connection is cut on purpose.
 * Invariant: it resumes by the last number seen, takes a state as news by its revision alone, and asks for transitions it missed.
 */
import { WebSocket } from "ws";
import { z } from "zod";
import { type JobState, jobStateSchema } from "../../src/protocol/states.ts";

const frameSchema = z.looseObject({
  type: z.enum(["status", "progress", "log", "artifact", "done"]),
  seq: z.number().int(),
  job_id: z.string(),
  status: jobStateSchema.optional(),
  revision: z.number().int().optional(),
  progress: z.number().optional(),
});
export type StreamFrame = z.infer<typeof frameSchema>;
const eventsSchema = z.object({ events: z.array(z.object({ revision: z.number(), to: jobStateSchema })) });

export type Transport = "ws" | "sse";
export type Target = { api: string; key: string; job: string };

export type Reading = {
  /** All frames in the order they came, over all connections. */
  readonly frames: StreamFrame[];
  /** Of each connection, the frames it carried. */
  readonly connections: StreamFrame[][];
  /** Each state as news, once. */
  readonly states: { revision: number; status: JobState }[];
};

/** Frames after which a connection is cut, one connection after the other; `never`: it is left alone. */
type Cuts = readonly number[] | "never";
/** Cut after one frame, after two, …: every event is the last before a cut, and the end gets through. */
export const AT_EVERY_EVENT: Cuts = [1, 2, 3, 4, 5, 6];

const RETRY_MS = 50;

/** Reads to `done`. */
export async function readStream(target: Target, transport: Transport, cuts: Cuts): Promise<Reading> {
  const reading: Reading = { frames: [], connections: [], states: [] };
  for (;;) {
    const cutAfter = cuts === "never" ? Number.POSITIVE_INFINITY : cuts[reading.connections.length % cuts.length];
    const frames: StreamFrame[] = [];
    reading.connections.push(frames);
    for await (const frame of connected(target, transport, reading.frames.at(-1)?.seq ?? null)) {
      frames.push(frame);
      reading.frames.push(frame);
      await takeState(target, reading, frame);
      if (frame.type === "done") return reading;
      if (frames.length === cutAfter) break;
    }
    if (frames.length === 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function takeState({ api, key, job }: Target, { states }: Reading, frame: StreamFrame): Promise<void> {
  const { status, revision } = frame;
  const known = states.at(-1)?.revision ?? 0;
  if (frame.type !== "status" || status === undefined || revision === undefined || revision <= known) return;
  if (revision > known + 1) {
    const answer = await fetch(`${api}/api/v1/jobs/${job}/events?format=json&after=${known}`, { headers: bearer(key) });
    const { events } = eventsSchema.parse(await answer.json());
    const missed = events.filter((event) => event.revision < revision);
    states.push(...missed.map((event) => ({ revision: event.revision, status: event.to })));
  }
  states.push({ revision, status });
}

function connected(target: Target, transport: Transport, seen: number | null): AsyncIterable<StreamFrame> {
  return transport === "ws" ? bySocket(target, seen) : byEvents(target, seen);
}

/** Ends with the connection, however that ended; leaving the loop cuts it without a word. */
async function* bySocket({ api, key, job }: Target, seen: number | null): AsyncGenerator<StreamFrame> {
  const url = `${api.replace("http", "ws")}/ws/jobs/${job}${seen === null ? "" : `?last_seq=${seen}`}`;
  const socket = new WebSocket(url, ["comfy-edge.v1"], { headers: bearer(key) });
  const waiting: StreamFrame[] = [];
  let wake = () => {};
  let over = false;
  socket.on("message", (data) => {
    waiting.push(frameSchema.parse(JSON.parse(String(data))));
    wake();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    over = true;
    wake();
  });
  try {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (over) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    socket.terminate();
  }
}

async function* byEvents({ api, key, job }: Target, seen: number | null): AsyncGenerator<StreamFrame> {
  const cut = new AbortController();
  const headers = { ...bearer(key), ...(seen === null ? {} : { "Last-Event-ID": String(seen) }) };
  try {
    const answer = await fetch(`${api}/api/v1/jobs/${job}/events`, { headers, signal: cut.signal });
    if (!answer.ok || answer.body === null) return;
    let text = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data === undefined) continue;
        const frame = frameSchema.parse(JSON.parse(data));
        if (!event.includes(`id: ${frame.seq}\nevent: ${frame.type}\n`)) throw new Error(`not its event: ${event}`);
        yield frame;
      }
    }
  } catch (error) {
    // A connection that breaks or is refused is the next one's business; anything else is a bug.
    if (!(error instanceof TypeError)) throw error;
  } finally {
    cut.abort();
  }
}

function bearer(key: string): Record<string, string> {
  return { Authorization: `Bearer ${key}` };
}
