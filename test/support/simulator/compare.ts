/**
 * Owns the comparison of what a real server said with what the simulator says.
 * The index of the recordings names what varies from run to run; that is matched by pattern. All else must be equal.
 */
import { dump, isMap, type Json, type JsonMap, PyFloat } from "../../../gpu-agent/simulator/python-json.ts";

export type Difference = { where: string; path: string; expected: string; actual: string };

const TEMPORARY = /^(ComfyUI_temp_)[a-z]{5}(_\d{5}_\.png)$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Path -> how a value there varies. Both sides must fit the check, or be equal. */
const VARYING: [RegExp, (value: Json) => boolean][] = [
  [/timestamp$/, (value) => Number.isInteger(value)],
  [/\.sid$/, (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value)],
  [/(tooltip|description|output_tooltips\[\d+\])$/, (value) => typeof value === "string"],
  [/\.(ram|vram|torch_vram)_(total|free)$/, (value) => Number.isInteger(value)],
  [/\.(python_version|pytorch_version)$|argv\[\d+\]$/, (value) => typeof value === "string"],
  [/entries\[\d+\]\.t$/, (value) => typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+$/.test(value)],
  [
    /entries\[\d+\]\.m$/,
    (value) => typeof value === "string" && /^Prompt executed in \d+\.\d\d seconds\n$/.test(value),
  ],
  [/\.(modified|created)$/, (value) => typeof value === "number"],
  [/modelspec\.title$/, (value) => typeof value === "string"],
];

/** Sets, shuffled anew in each process of the real server. */
const SHUFFLED =
  /(executed|current_outputs|dependent_outputs|errors|queue_(running|pending)\[\d+\]\[4\]|\.prompt\[4\])$/;
/** Lists whose content belongs to one release. */
const OPAQUE_LISTS = /(traceback|\.argv)$/;
/** Objects whose order is that of a shuffled set. */
const UNORDERED = /(node_errors|\.outputs|\.meta)$/;

export class Comparison {
  readonly differences: Difference[] = [];
  /** What was called otherwise there: names of temporary files, generated ids. */
  readonly names = new Map<string, string>();
  private readonly pictures = new Map<string, string>();

  /** `where` names the exchange or frame. */
  compare(where: string, expected: Json, actual: Json, path = "body"): void {
    if (this.varies(path, expected, actual)) return;
    if (isMap(expected) && isMap(actual)) this.compareMaps(where, expected, actual, path);
    else if (Array.isArray(expected) && Array.isArray(actual)) this.compareLists(where, expected, actual, path);
    else if (!isSame(expected, actual)) this.differ(where, path, shown(expected), shown(actual));
  }

  /** Two pictures there were equal exactly when they are here. */
  compareSameness(where: string, there: string, here: string): void {
    const [before, origin] = [this.pictures.get(there), [...this.pictures].find(([, hash]) => hash === here)?.[0]];
    if (before !== undefined && before !== here) this.differ(where, "image.pixels", "as before", "others than before");
    else if (origin !== undefined && origin !== there)
      this.differ(where, "image.pixels", "others than before", "as before");
    this.pictures.set(there, here);
  }

  differ(where: string, path: string, expected: string, actual: string): void {
    this.differences.push({ where, path, expected, actual });
  }

  private varies(path: string, expected: Json, actual: Json): boolean {
    if (VARYING.some(([pattern, fits]) => pattern.test(path) && fits(expected) && fits(actual))) return true;
    if (typeof expected !== "string" || typeof actual !== "string") return false;
    const isGenerated = UUID.test(expected) && UUID.test(actual) && !expected.startsWith("00000000-");
    if (!isGenerated && expected.replace(TEMPORARY, "$1$2") !== actual.replace(TEMPORARY, "$1$2")) return false;
    this.names.set(expected, actual);
    return true;
  }

  private compareMaps(where: string, expected: JsonMap, actual: JsonMap, path: string): void {
    const [wanted, got] = [[...expected.keys()].map((key) => this.names.get(key) ?? key), [...actual.keys()]];
    for (const [key, value] of expected) {
      const other = actual.get(this.names.get(key) ?? key);
      if (other === undefined) this.differ(where, `${path}.${key}`, shown(value), "absent");
      else this.compare(where, value, other, `${path}.${key}`);
    }
    for (const key of got)
      if (!wanted.includes(key)) this.differ(where, `${path}.${key}`, "absent", shown(actual.get(key) ?? null));
    const isSameSet = wanted.length === got.length && wanted.every((key) => got.includes(key));
    if (isSameSet && wanted.join() !== got.join() && !UNORDERED.test(path)) {
      this.differ(where, `${path} (order)`, wanted.join(), got.join());
    }
  }

  private compareLists(where: string, expected: Json[], actual: Json[], path: string): void {
    if (OPAQUE_LISTS.test(path) && expected.length > 0 && actual.length > 0) return;
    const [wanted, got] = SHUFFLED.test(path) ? [sorted(expected), sorted(actual)] : [expected, actual];
    if (wanted.length !== got.length) {
      this.differ(where, `${path}.length`, `${wanted.length}: ${shown(expected)}`, `${got.length}: ${shown(actual)}`);
      return;
    }
    for (const [index, value] of wanted.entries()) this.compare(where, value, got[index] ?? null, `${path}[${index}]`);
  }
}

function sorted(list: Json[]): Json[] {
  const key = (value: Json) => (isMap(value) ? `${dump(value.get("type"))}${dump(value.get("details"))}` : dump(value));
  return [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function isSame(a: Json, b: Json): boolean {
  if (a instanceof PyFloat && b instanceof PyFloat) return a.value === b.value;
  return a === b;
}

function shown(value: Json): string {
  const text = dump(value);
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length})` : text;
}
