/**
 * Owns the three folders of a server and how a name inside them is found, refused, or numbered.
 * Invariant: no path outside the folder is ever read or written, whatever the name.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { basename, join, normalize, resolve, sep } from "node:path";

export type FolderType = "output" | "input" | "temp";

export class Folders {
  readonly output: string;
  readonly input: string;
  readonly temp: string;

  constructor(paths: { output: string; input: string; temp: string }) {
    this.output = resolve(paths.output);
    this.input = resolve(paths.input);
    this.temp = resolve(paths.temp);
    for (const folder of [this.output, this.input, this.temp]) mkdirSync(folder, { recursive: true });
  }

  /** The folder of a type, or null for a type that does not exist. */
  of(type: string): string | null {
    if (type === "output" || type === "input" || type === "temp") return this[type];
    return null;
  }

  /** What every start of a server does. */
  wipeTemp(): void {
    rmSync(this.temp, { recursive: true, force: true });
    mkdirSync(this.temp, { recursive: true });
  }
}

/** True when `path` is `folder` or lies in it. */
export function isInside(folder: string, path: string): boolean {
  const full = resolve(path);
  return full === folder || full.startsWith(folder + sep);
}

/** "a.png [temp]" -> name and folder type; the type is null when nothing is annotated. Ten or so characters go, blank or not. */
export function annotated(name: string): { name: string; type: FolderType | null } {
  if (name.endsWith("[output]")) return { name: name.slice(0, -9), type: "output" };
  if (name.endsWith("[input]")) return { name: name.slice(0, -8), type: "input" };
  if (name.endsWith("[temp]")) return { name: name.slice(0, -7), type: "temp" };
  return { name, type: null };
}

/** Path of an input named in a graph, or null when it would leave its folder. */
export function annotatedPath(folders: Folders, name: string): string | null {
  const found = annotated(name);
  const folder = folders[found.type ?? "input"];
  const path = join(folder, found.name);
  return isInside(folder, path) ? path : null;
}

export type SavePlace = { folder: string; filename: string; counter: number; subfolder: string };

/** Where the next file of a prefix goes, or null when the prefix leaves the folder. The counter is 1 + the highest there. */
export function savePlace(folder: string, prefix: string, size: { width: number; height: number }): SavePlace | null {
  const path = normalize(expanded(prefix, size));
  const subfolder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
  const filename = basename(path);
  const place = join(folder, subfolder);
  if (!isInside(folder, place)) return null;
  mkdirSync(place, { recursive: true });
  return { folder: place, filename, counter: highest(place, filename) + 1, subfolder };
}

function highest(folder: string, filename: string): number {
  let counter = 0;
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (!name.startsWith(`${filename}_`)) continue;
    const digits = Number.parseInt(name.slice(filename.length + 1).split("_")[0] ?? "", 10);
    if (digits > counter) counter = digits;
  }
  return counter;
}

function expanded(prefix: string, size: { width: number; height: number }): string {
  if (!prefix.includes("%")) return prefix;
  const now = new Date();
  const two = (value: number) => String(value).padStart(2, "0");
  const words: Record<string, string> = {
    width: String(size.width),
    height: String(size.height),
    year: String(now.getFullYear()),
    month: two(now.getMonth() + 1),
    day: two(now.getDate()),
    hour: two(now.getHours()),
    minute: two(now.getMinutes()),
    second: two(now.getSeconds()),
  };
  return prefix.replace(/%(\w+)%/g, (all, word: string) => words[word] ?? all);
}

/** `00001`, as in `name_00001_.png`. */
export function counterText(counter: number): string {
  return String(counter).padStart(5, "0");
}
