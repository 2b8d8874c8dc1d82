/**
 * Owns the explorer at /docs: reads /openapi.json and shows every route, with a form to try it.
 * Invariant: asks nobody but the host it came from, and puts text on the page as text alone.
 */

const methods = ["get", "post", "put", "delete"];

function element(name, props = {}, ...children) {
  const made = Object.assign(document.createElement(name), props);
  made.append(...children);
  return made;
}

function table(head, rows) {
  const line = (cell, texts) => element("tr", {}, ...texts.map((text) => element(cell, {}, String(text ?? ""))));
  return element("table", {}, line("th", head), ...rows.map((row) => line("td", row)));
}

/** A schema in one phrase: enough to fill a form by. */
function phrase(schema, components) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => phrase(one, components)).join(" or ");
  const bounds = [schema.minimum ?? schema.minLength, schema.maximum ?? schema.maxLength].filter(
    (n) => n !== undefined,
  );
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : (schema.type ?? "any");
  return bounds.length > 0 ? `${type}, ${bounds.join(" to ")}` : type;
}

function fieldsOf(schema, components) {
  const resolved = schema?.$ref ? components[schema.$ref.split("/").pop()] : schema;
  return Object.entries(resolved?.properties ?? {}).map(([name, field]) => [
    name,
    phrase(field, components),
    field.default ?? "",
    field.description ?? "",
  ]);
}

function tryIt(method, path, operation) {
  const inputs = (operation.parameters ?? []).filter((one) => one.in !== "header");
  const fields = inputs.map((one) => [
    one,
    element("input", { placeholder: one.example ?? one.schema?.example ?? "" }),
  ]);
  const example = operation.requestBody?.content?.["application/json"]?.example;
  const body = operation.requestBody
    ? element("textarea", { rows: 8, value: JSON.stringify(example ?? {}, null, 2) })
    : null;
  const answer = element("pre", { hidden: true });
  const send = async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const [one, field] of fields)
      if (one.in === "path") url = url.replace(`{${one.name}}`, encodeURIComponent(field.value));
      else if (field.value !== "") query.set(one.name, field.value);
    if (query.size > 0) url += `?${query}`;
    const headers = body ? { "Content-Type": "application/json" } : {};
    const key = document.getElementById("key").value.trim();
    if (key !== "") headers.Authorization = `Bearer ${key}`;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
      const text = await response.text();
      const shown = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      answer.textContent = `${response.status}\n${shown}\n\n${text}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  };
  return [
    ...fields.map(([one, field]) => element("label", {}, one.name, field)),
    ...(body ? [element("label", {}, "body", body)] : []),
    element("button", { onclick: send, textContent: "Send" }),
    answer,
  ];
}

function route(method, path, operation, components) {
  const inside = element("div");
  const shown = element(
    "details",
    {},
    element("summary", {}, element("b", {}, method.toUpperCase()), element("code", {}, path), operation.summary ?? ""),
    inside,
  );
  shown.addEventListener(
    "toggle",
    () => {
      const schema = operation.requestBody?.content?.["application/json"]?.schema;
      if (operation.description) inside.append(element("p", {}, operation.description));
      if (schema) inside.append(table(["field", "type", "default", ""], fieldsOf(schema, components)));
      const responses = Object.entries(operation.responses ?? {}).map(([code, one]) => [code, one.description]);
      inside.append(table(["status", ""], responses), ...tryIt(method, path, operation));
    },
    { once: true },
  );
  return shown;
}

async function main() {
  const openapi = await (await fetch("/openapi.json")).json();
  const about = document.getElementById("about");
  about.textContent = `Version ${openapi.info.version}. ${openapi.info.description}`;
  const components = openapi.components?.schemas ?? {};
  const groups = new Map();
  for (const [path, item] of Object.entries(openapi.paths))
    for (const method of methods.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), route(method, path, item[method], components)]);
    }
  const main = document.getElementById("routes");
  for (const [tag, routes] of groups) main.append(element("h2", {}, tag), ...routes);
}

main().catch((error) => {
  document.getElementById("about").textContent = `The document could not be read: ${error}`;
});
