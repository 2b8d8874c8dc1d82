/**
 * Owns the Postman collection (format 2.1), made from the OpenAPI document: a folder per tag, a request per operation.
 * Invariant: nothing in it changes between two runs on the same document, and it holds no key: `{{key}}` and `{{url}}` are variables.
 */
import type { OpenApi, Operation } from "./openapi.ts";

type Pair = { key: string; value: string; description?: string; disabled?: boolean };
type Item = { name: string; request: object };
type Folder = { name: string; item: Item[] };

const METHODS = ["get", "post", "put", "patch", "delete"];

export function postmanCollection({ info, paths }: OpenApi) {
  const folders = new Map<string, Folder>();
  for (const [path, operations] of Object.entries(paths))
    for (const method of METHODS) {
      const operation = operations[method];
      if (operation === undefined) continue;
      const tag = operation.tags[0] ?? "other";
      const folder = folders.get(tag) ?? { name: tag, item: [] };
      folders.set(tag, folder);
      folder.item.push(itemOf(path, method, operation));
    }
  return {
    info: {
      name: info.title,
      description: info.description,
      version: info.version,
      schema: "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
    },
    auth: { type: "bearer", bearer: [{ key: "token", value: "{{key}}", type: "string" }] },
    variable: [
      { key: "url", value: "http://127.0.0.1:8787" },
      { key: "key", value: "" },
    ],
    item: [...folders.values()],
  };
}

function itemOf(path: string, method: string, operation: Operation): Item {
  const example = operation.requestBody?.content["application/json"]?.example;
  const isJson = operation.requestBody?.content["application/json"] !== undefined;
  const headers: Pair[] = isJson ? [{ key: "Content-Type", value: "application/json" }] : [];
  const body = { mode: "raw", raw: JSON.stringify(example ?? {}, null, 2), options: { raw: { language: "json" } } };
  return {
    name: operation.summary || `${method.toUpperCase()} ${path}`,
    request: {
      method: method.toUpperCase(),
      ...(operation.security.length === 0 ? { auth: { type: "noauth" } } : {}),
      header: [...headers, ...pairsOf(operation, "header")],
      url: urlOf(path, operation),
      description: operation.description,
      ...(isJson ? { body } : {}),
    },
  };
}

function urlOf(path: string, operation: Operation) {
  const colons = path.replace(/\{(\w+)\}/g, ":$1");
  const query = pairsOf(operation, "query");
  const variable = operation.parameters
    .filter((one) => one.in === "path")
    .map(({ name, description }) => ({ key: name, value: "", ...(description === undefined ? {} : { description }) }));
  return {
    raw: `{{url}}${colons}`,
    host: ["{{url}}"],
    path: colons.split("/").slice(1),
    ...(query.length > 0 ? { query } : {}),
    ...(variable.length > 0 ? { variable } : {}),
  };
}

/** Optional ones are there but switched off. */
function pairsOf(operation: Operation, place: "header" | "query"): Pair[] {
  return operation.parameters
    .filter((one) => one.in === place)
    .map(({ name, required, description }) => ({
      key: name,
      value: "",
      ...(description === undefined ? {} : { description }),
      ...(required === true ? {} : { disabled: true }),
    }));
}
