/**
 * Owns Markdown tables and numbers as people read them.
 * Invariant: pure text.
 */

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** 10485760 -> 10,485,760 */
export function number(value: number): string {
  return value.toLocaleString("en-US");
}

/** The largest unit that divides it: 86400000 -> 24 h, 600000 -> 10 min, 9000 -> 9 s. */
export function duration(ms: number): string {
  const units: readonly [number, string][] = [
    [3_600_000, "h"],
    [60_000, "min"],
    [1_000, "s"],
  ];
  const [size, name] = units.find(([unit]) => ms >= unit && ms % unit === 0) ?? [1, "ms"];
  return `${number(ms / size)} ${name}`;
}
