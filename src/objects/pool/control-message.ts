/**
 * Owns how what an agent says on its control socket is read.
 * Invariant: nothing that is not of the protocol is looked at any further.
 */
import { type ControlUp, controlUpSchema } from "../../protocol/agent-api.ts";

/** A hello may carry a whole capability; anything larger is not of the protocol. */
const MAX_MESSAGE_CHARS = 8_388_608;

/** `too_big` also stands for what is not text; null: not a message that is known. */
export function controlUpOf(message: string | ArrayBuffer): ControlUp | "too_big" | null {
  if (typeof message !== "string" || message.length > MAX_MESSAGE_CHARS) return "too_big";
  try {
    const parsed = controlUpSchema.safeParse(JSON.parse(message));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
