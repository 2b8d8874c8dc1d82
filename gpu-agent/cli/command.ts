/**
 * Owns what the commands share: what one is, how its outcome is told, what a failed call means for its exit code.
 * Invariant: one outcome, one exit code; with --json standard output is one JSON object and nothing else.
 */
import { EXIT, type Given } from "../config.ts";
import { BadAnswer, Rejected } from "../control-plane.ts";
import { CallFailed } from "../http-origin.ts";
import { TryAgain } from "../retry.ts";

/** What a command came to: lines for people, a value for programs. */
export type Outcome = { code: number; lines: string[]; value: object };

export type CommandInput = {
  flags: ReadonlyMap<string, string>;
  given: Given;
  /** The token comes from the credentials file. */
  isFromFile: boolean;
  /** Progress for people, on standard error. */
  say: (line: string) => void;
};

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** True where a token sent to this address can be read on the way. */
export function isInClear(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && !LOOPBACK.test(hostname);
}

export function done(lines: string[], value: object): Outcome {
  return { code: EXIT.fine, lines, value };
}

export function wrong(message: string, code: number = EXIT.wrong): Outcome {
  return { code, lines: [`gpu-agent: ${message}`], value: { error: message } };
}

/** The outcome of an error that a call of the control plane may throw; anything else is a bug and thrown on. */
export function failed(error: unknown, controlUrl: string): Outcome {
  if (error instanceof Rejected && error.status === 426)
    return wrong("the control plane does not speak this agent's protocol: update the agent", EXIT.outdated);
  if (error instanceof Rejected)
    return wrong(
      "the token was refused: it was revoked or replaced. Ask an operator for a new code, then gpu-agent enroll --force",
      EXIT.refused,
    );
  if (error instanceof CallFailed || error instanceof TryAgain)
    return wrong(
      `${controlUrl} does not answer (${error.message}): try again, or see gpu-agent doctor`,
      EXIT.unanswered,
    );
  if (error instanceof BadAnswer)
    return wrong(`${controlUrl} is not a control plane of this version (${error.message})`, EXIT.unanswered);
  throw error;
}
