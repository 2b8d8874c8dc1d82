/**
 * Owns how the frames of a viewer's socket become a server-sent event stream.
 * Invariant: one event per frame, `id` its seq; nothing is sent after `done`; a reader that does not read costs 1 MiB at most.
 *
 * The socket behind it sleeps with its object: what keeps the connection alive (a comment each 15 s) is made here.
 */
import { z } from "zod";
import { PING } from "../protocol/progress.ts";

const COMMENT_EVERY_MS = 15_000;
const RETRY_MS = 1_000;
/**
 * Told with `done`: a browser's EventSource always comes back after an end unless its page closed it. This late, it finds its
 * ticket spent and stops.
 */
const RETRY_AFTER_DONE_MS = 3_600_000;
/** Unread beyond this, progress is left out: the next frame says more. */
const READ_AHEAD_BYTES = 65_536;
/** Unread beyond this, the stream ends: the reader comes back to a snapshot. */
const MAX_UNREAD_BYTES = 1_048_576;

const frameSchema = z.looseObject({ type: z.string().regex(/^[a-z]+$/), seq: z.number().int() });

export function eventStream(socket: WebSocket): Response {
  let timer: number | null = null;
  let writer: EventWriter | null = null;
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        const events = new EventWriter(controller, () => stop(socket, timer));
        writer = events;
        events.raw(`retry: ${RETRY_MS}\n\n`);
        timer = setInterval(() => {
          events.raw(": \n\n");
          // The sign of life the object looks for; answered by the runtime, wakes nobody.
          socket.send(PING);
        }, COMMENT_EVERY_MS);
        socket.addEventListener("message", ({ data }) => events.frame(data));
        socket.addEventListener("close", () => events.end());
        socket.addEventListener("error", () => events.end());
        socket.accept();
      },
      cancel: () => writer?.abandon(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD_BYTES }),
  );
  return new Response(body, {
    headers: {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-store, no-transform",
      "X-Accel-Buffering": "no",
    },
  });
}

class EventWriter {
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly #stop: () => void;
  #ended = false;

  constructor(controller: ReadableStreamDefaultController<Uint8Array>, stop: () => void) {
    this.#controller = controller;
    this.#stop = stop;
  }

  /** A frame as the object sent it. Anything else on the socket (`pong`) is no event. */
  frame(data: unknown): void {
    if (typeof data !== "string" || !data.startsWith("{")) return;
    const { type, seq } = frameSchema.parse(JSON.parse(data));
    if (type === "progress" && this.#room() <= 0) return;
    const retry = type === "done" ? `retry: ${RETRY_AFTER_DONE_MS}\n` : "";
    this.raw(`id: ${seq}\nevent: ${type}\n${retry}data: ${data}\n\n`);
    if (type === "done") this.end();
  }

  raw(text: string): void {
    if (this.#ended) return;
    if (READ_AHEAD_BYTES - this.#room() <= MAX_UNREAD_BYTES) this.#controller.enqueue(this.#encoder.encode(text));
    else {
      this.abandon();
      this.#controller.error(new Error("the reader is too slow"));
    }
  }

  end(): void {
    if (this.#ended) return;
    this.abandon();
    this.#controller.close();
  }

  /** The reader is gone: nothing more is written. */
  abandon(): void {
    this.#ended = true;
    this.#stop();
  }

  /** Bytes that may still be sent ahead of the reader; negative when it is behind. */
  #room(): number {
    return this.#controller.desiredSize ?? 0;
  }
}

function stop(socket: WebSocket, timer: number | null): void {
  clearInterval(timer);
  try {
    socket.close(1000, "");
  } catch {
    // Already closed.
  }
}
