/**
 * Owns what follows from ComfyUI's version number.
 * Invariant: an unreadable version counts as old and unsafe.
 */

/** Below it: five known holes, among them a path traversal through a workflow. */
export const SAFE_COMFYUI = "0.28.0";
/** Below it `POST /interrupt` ignores the prompt id it is given. */
const INTERRUPT_BY_ID = "0.3.60";

export function isAtLeast(version: string, floor: string): boolean {
  const [a, b] = [numbers(version), numbers(floor)];
  if (!a || !b) return false;
  for (let i = 0; i < 3; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

export function interruptsById(version: string): boolean {
  return isAtLeast(version, INTERRUPT_BY_ID);
}

function numbers(version: string): number[] | null {
  const found = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
  return found ? found.slice(1).map(Number) : null;
}
