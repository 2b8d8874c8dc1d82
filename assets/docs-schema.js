/**
 * Owns how a JSON schema is shown: one row a member, nested members below it, references followed.
 * Invariant: ends for any schema, circular ones included.
 */
import { element, inline, table } from "/docs-dom.js";

const DEEPEST = 3;
/** More names than this are counted, not listed. */
const MOST_NAMES = 12;

function resolve(schema, components) {
  const name = schema?.$ref?.split("/").pop();
  return name === undefined ? (schema ?? {}) : (components[name] ?? {});
}

/** The variant that is not null, and whether null is one. */
function core(schema, components) {
  const found = resolve(schema, components);
  const variants = found.anyOf ?? found.oneOf;
  if (variants === undefined) return found;
  const real = variants.filter((one) => one.type !== "null");
  return real.length === 1 ? { ...found, ...core(real[0], components), orNull: real.length < variants.length } : found;
}

/** A schema in a few words. */
export function phrase(schema, components) {
  const found = core(schema, components);
  const variants = found.anyOf ?? found.oneOf;
  if (variants !== undefined) return variants.map((one) => phrase(one, components)).join(" or ");
  const orNull = found.orNull ? " or null" : "";
  if (found.enum?.length > MOST_NAMES) return `one of ${found.enum.length} names, such as ${found.enum[0]}${orNull}`;
  if (found.enum) return found.enum.join(" | ") + orNull;
  if (found.const !== undefined) return JSON.stringify(found.const);
  const types = [found.type ?? "any"].flat();
  if (types[0] === "array") return `list of ${phrase(found.items ?? {}, components)}${orNull}`;
  return types.join(" or ") + bounds(found) + orNull;
}

function bounds(schema) {
  const low = schema.minimum ?? schema.minLength ?? schema.minItems;
  const high = schema.maximum ?? schema.maxLength ?? schema.maxItems;
  const unit = schema.maxLength === undefined ? "" : " characters";
  const step = schema.multipleOf === undefined ? "" : `, multiples of ${schema.multipleOf}`;
  const number = (n) => n.toLocaleString("en-US");
  if (low !== undefined && high !== undefined) return `, ${number(low)} to ${number(high)}${unit}${step}`;
  if (high !== undefined) return `, up to ${number(high)}${unit}${step}`;
  return low === undefined ? step : `, from ${number(low)}${unit}${step}`;
}

/** A value to start from: what must be there, each by its example, default, first name or an empty of its type. */
export function starter(schema, components) {
  const found = core(schema, components);
  const known = found.example ?? found.default ?? found.const ?? found.enum?.[0];
  if (known !== undefined) return known;
  const type = [found.type].flat()[0];
  if (type === "array") return [];
  if (type === "string") return "";
  if (type === "boolean") return false;
  if (type === "number" || type === "integer") return found.minimum ?? 0;
  const members = (found.required ?? []).filter((name) => found.properties?.[name] !== undefined);
  return Object.fromEntries(members.map((name) => [name, starter(found.properties[name], components)]));
}

/** The example that stands at a schema, or at the first of its variants that has one; undefined for none. */
export function exampleOf(schema, components) {
  const found = core(schema, components);
  return found.example ?? (found.anyOf ?? found.oneOf ?? []).map((one) => exampleOf(one, components)).find(Boolean);
}

/** Rows of a schema's members; null where it has none. */
export function schemaTable(schema, components) {
  const rows = rowsOf(schema, components, 0, []);
  return rows.length === 0 ? null : table(["member", "type", "left out", ""], rows);
}

function rowsOf(schema, components, depth, path) {
  const found = core(schema, components);
  const inner = [found.type].flat()[0] === "array" ? core(found.items, components) : found;
  if (depth > DEEPEST || path.includes(inner)) return [];
  const needed = new Set(inner.required ?? []);
  return Object.entries(inner.properties ?? {}).flatMap(([name, member]) => {
    const shown = core(member, components);
    const fallback = shown.default === undefined ? "" : element("code", {}, JSON.stringify(shown.default));
    const row = element(
      "tr",
      {},
      element("td", { className: `deep${depth}` }, memberName(name, needed.has(name))),
      element("td", {}, phrase(member, components)),
      element("td", {}, fallback),
      element("td", {}, ...inline(member.description ?? shown.description)),
    );
    return [row, ...rowsOf(member, components, depth + 1, [...path, inner])];
  });
}

function memberName(name, isNeeded) {
  return element("code", { className: isNeeded ? "needed" : "" }, name);
}
