/**
 * Owns a secret that is almost right: the case a check must not let through.
 * Invariant: never the text itself, whatever its last character was.
 */
export function mistyped(text: string): string {
  return `${text.slice(0, -1)}${text.endsWith("0") ? "1" : "0"}`;
}
