/**
 * Owns the differences between the simulator and the recordings that stay, each with its reason.
 * A difference that is not here fails the replay; an entry that no longer occurs fails it too.
 */
import type { Difference } from "./compare.ts";

export type Argued = { name: string; reason: string; recordings: RegExp; matches(difference: Difference): boolean };

export const ARGUED: Argued[] = [
  {
    name: "status position",
    reason: "several submits overlap: the recordings' index excludes where a status falls among the frames of a run",
    recordings: /^(03|06|14)/,
    matches: ({ path }) => path === "order of status among frames",
  },
  {
    name: "first of a batch",
    reason: "a real batch of two differs from a single picture by rounding; here the first picture is the same",
    recordings: /^13/,
    matches: ({ path, where }) => path === "image.pixels" && where.includes("two_00001_.png"),
  },
  {
    name: "front page",
    reason: "the simulator says what it is; the recorded page is a stand-in as well",
    recordings: /^09/,
    matches: ({ path, where }) => path === "body" && where.includes("GET / ["),
  },
];
