/**
 * Owns bringing one prompt into ComfyUI's queue: once, and known to be there.
 * Invariant: a prompt is sent again only when it was certainly not delivered, or when queue and history both denied it twice.
 */
import { monotonicMs, pause } from "../clock.ts";
import { type Answer, CallFailed } from "../http-origin.ts";
import { ComfyFault } from "./client.ts";
import { pythonJson } from "./python-json.ts";
import type { ComfySession } from "./session.ts";
import { refusalSchema, submitAnswerSchema } from "./shapes.ts";
import { DEAD_AFTER_MS, locate } from "./stop.ts";
import { explainRefusal, type RefusedSubmit, scrub } from "./verdict.ts";

export type Submission = {
  prompt_id: string;
  /** The whole body of POST /prompt. */
  body: string;
  signal: AbortSignal;
  /** Asked right before every send: false, and nothing is sent. */
  mayGoOn(): boolean;
};

/**
 * `partial`: it runs, but without the outputs that ComfyUI refused. `unsure`: our signal fell while it may or may not have
 * been taken. `unreachable`, `not_taken`: ComfyUI is down, or answers and does not take it.
 */
export type Submitted =
  | { kind: "accepted" | "unsure" | "unreachable" | "not_taken" | "held_back" }
  | { kind: "refused" | "partial"; refusal: RefusedSubmit };

const MAX_SUBMITS = 3;
const RETRY_MS = 250;
const BETWEEN_LOOKS_MS = 1_000;
/** A ComfyUI that can neither confirm nor deny for so long is as good as down. */
const LOOK_LIMIT_MS = 30_000;
/** Events of a prompt are sent to the socket that is open, or to nobody. */
const SOCKET_WAIT_MS = 2_000;

export async function submit(session: ComfySession, what: Submission): Promise<Submitted> {
  await session.socketOpened(SOCKET_WAIT_MS, what.signal);
  for (let tries = 1; ; tries++) {
    const answer = await submitOnce(session, what);
    if (answer === "unreachable" || answer === "held_back") return { kind: answer };
    if (answer !== "unsure") return understood(answer);
    if (what.signal.aborted) return { kind: "unsure" };
    const place = await whereabouts(session, what);
    if (place === "there") return { kind: "accepted" };
    if (what.signal.aborted) return { kind: "unsure" };
    if (place === "unknown" || tries >= MAX_SUBMITS) return { kind: "not_taken" };
  }
}

/** Waits out a ComfyUI that refuses connections for a moment: what was refused was not delivered. */
async function submitOnce(
  session: ComfySession,
  what: Submission,
): Promise<Answer | "unsure" | "unreachable" | "held_back"> {
  const since = monotonicMs();
  for (;;) {
    if (!what.mayGoOn()) return "held_back";
    try {
      const answer = await session.client.submit(what.body);
      return answer.status >= 500 ? "unsure" : answer;
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      session.suspect();
      if (error.kind !== "refused") return "unsure";
      if (what.signal.aborted || monotonicMs() - since > DEAD_AFTER_MS) return "unreachable";
      await pause(RETRY_MS, what.signal);
    }
  }
}

/** `gone` needs two looks, a second apart, that found it in neither place; a look that fails proves nothing. */
async function whereabouts(session: ComfySession, what: Submission): Promise<"there" | "gone" | "unknown"> {
  const since = monotonicMs();
  for (let denied = 0; denied < 2; await pause(BETWEEN_LOOKS_MS, what.signal)) {
    if (what.signal.aborted || monotonicMs() - since > LOOK_LIMIT_MS) return "unknown";
    try {
      const { kind } = await locate(session.client, what.prompt_id);
      if (kind === "absent") denied++;
      else if (kind !== "unreadable") return "there";
    } catch (error) {
      if (!(error instanceof CallFailed) && !(error instanceof ComfyFault)) throw error;
    }
  }
  return "gone";
}

const UNREADABLE: RefusedSubmit = {
  message: "ComfyUI refused the workflow",
  node_id: null,
  node_type: null,
  missing: [],
};

function understood(answer: Answer): Submitted {
  if (answer.status === 413) {
    const message = `ComfyUI's body limit: ${scrub(answer.text.slice(0, 200))}`;
    return { kind: "refused", refusal: { ...UNREADABLE, message } };
  }
  // Only ComfyUI's own no is one to the workflow: a proxy before it, or another server in its place, knows nothing of it.
  if (answer.status !== 200 && answer.status !== 400) return { kind: "not_taken" };
  if (answer.status === 400) {
    const parsed = refusalSchema.safeParse(pythonJson(answer.text));
    const refusal = parsed.success
      ? explainRefusal(parsed.data)
      : { ...UNREADABLE, message: `status ${answer.status}` };
    return { kind: "refused", refusal };
  }
  const parsed = submitAnswerSchema.safeParse(pythonJson(answer.text));
  const errors = parsed.success ? parsed.data.node_errors : {};
  if (Object.keys(errors).length === 0) return { kind: "accepted" };
  const refusal = refusalSchema.safeParse({ node_errors: errors });
  const said = refusal.success ? explainRefusal(refusal.data) : { ...UNREADABLE, message: "some outputs were refused" };
  return { kind: "partial", refusal: said };
}
