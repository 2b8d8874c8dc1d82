/**
 * Owns what one check of the doctor says.
 * Invariant: whatever is not well says what to do about it; nothing said holds a token, a prompt or a signed link.
 */

/** `warn`: work is taken, but something is not as it should be. `fail`: no work is done, or it is lost. */
export type Verdict = "ok" | "warn" | "fail";
/** `to_do`: null where all is well. `facts`: figures for programs. */
export type Check = { name: string; verdict: Verdict; finding: string; to_do: string | null; facts?: object };

export function well(name: string, finding: string, facts?: object): Check {
  return { name, verdict: "ok", finding, to_do: null, ...(facts ? { facts } : {}) };
}

export function odd(name: string, finding: string, to_do: string, facts?: object): Check {
  return { name, verdict: "warn", finding, to_do, ...(facts ? { facts } : {}) };
}

export function bad(name: string, finding: string, to_do: string, facts?: object): Check {
  return { name, verdict: "fail", finding, to_do, ...(facts ? { facts } : {}) };
}
