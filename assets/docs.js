/**
 * Owns the explorer at /docs: reads /openapi.json and shows every route, grouped by who calls it, with a form to try it.
 * Invariant: asks nobody but the host it came from, and puts text on the page as text alone.
 */
import { element, inline, paragraphs, table } from "/docs-dom.js";
import { exampleOf, schemaTable } from "/docs-schema.js";
import { tryForm } from "/docs-try.js";

const METHODS = ["post", "get", "put", "patch", "delete"];

/** Tags in the order they are shown, each with its title and a line about it; tags that are not here come last. */
const GROUPS = new Map([
  ["jobs", ["Jobs", "Submit work, read it, cancel it, fetch what it made."]],
  ["generate", ["Generate", "The same, waiting for the picture."]],
  ["progress", ["Progress", "Watch a job while it runs."]],
  ["models", ["Models", "What the agents have."]],
  ["templates", ["Templates", "Stored graphs with named parameters."]],
  ["uploads", ["Uploads", "Bring media in."]],
  ["webhooks", ["Webhooks", "Be told when a job changes."]],
  ["account", ["Account", "Limits, use, and keys of your own."]],
  ["v1", ["/v1", "Another vocabulary for the same jobs: `completed`, `cancelled`, percent, `{detail}`."]],
  ["health", ["Health", "How the system is. No key needed."]],
  ["documents", ["Documents", "This page and what it is made of."]],
  ["users", ["Operators: users", "Accounts, their limits, their webhooks."]],
  ["keys", ["Operators: keys", "Keys of any account."]],
  ["pools", ["Operators: agents and pools", "Who works, and for whom."]],
  ["audit", ["Operators: audit", "Who did what."]],
  ["agents", ["Agents", "What a gpu-agent says to us. Not for clients."]],
]);
const titleOf = (tag) => GROUPS.get(tag)?.[0] ?? tag;

const WHO = {
  open: "No key needed.",
  client: "A user key, or a service key with X-User-ID.",
  owner: "A user key, or a service key for its own account.",
  watcher: "A user or service key, or a ticket.",
  admin: "An admin key.",
  bootstrap: "The bootstrap token.",
  agent: "An agent's token.",
};

const idOf = (method, path) => `${method}${path}`.replace(/[^a-z0-9]+/gi, "-").replace(/-$/, "");

function routesByTag(openapi) {
  const groups = new Map([...GROUPS.keys()].map((tag) => [tag, []]));
  for (const [path, item] of Object.entries(openapi.paths))
    for (const method of METHODS) {
      const operation = item[method];
      if (operation === undefined) continue;
      const isOperators = path.startsWith("/admin/") && operation.tags?.[0] === "webhooks";
      const tag = isOperators ? "users" : (operation.tags?.[0] ?? "other");
      groups.set(tag, [...(groups.get(tag) ?? []), { method, path, operation }]);
    }
  return [...groups].filter(([, routes]) => routes.length > 0);
}

function methodMark(method) {
  return element("span", { className: `method ${method}` }, method.toUpperCase());
}

function routeElement({ method, path, operation }, components) {
  const inside = element("div");
  const shown = element(
    "details",
    {
      className: "route",
      id: idOf(method, path),
      data: { words: `${method} ${path} ${operation.summary}`.toLowerCase() },
    },
    element("summary", {}, methodMark(method), element("code", {}, path), element("span", {}, operation.summary ?? "")),
    inside,
  );
  const fill = () => inside.append(...routeBody(method, path, operation, components));
  shown.addEventListener("toggle", fill, { once: true });
  return shown;
}

function routeBody(method, path, operation, components) {
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const bodyTable = body ? schemaTable(body, components) : null;
  const answer = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith("2"))?.[1];
  const answerSchema = answer?.content?.["application/json"]?.schema;
  const answerTable = schemaTable(answerSchema, components);
  const example = exampleOf(answerSchema, components);
  return [
    ...paragraphs(operation.description),
    element("p", { className: "who" }, WHO[operation["x-auth"]] ?? ""),
    element("h3", {}, "Try it"),
    tryForm(method, path, operation, components),
    ...parametersOf(operation),
    ...(bodyTable ? [element("h3", {}, "Body"), bodyTable] : []),
    element("h3", {}, "Answers"),
    table(["status", ""], Object.entries(operation.responses ?? {}).map(answerRow)),
    ...(example ? [folded("Example of the answer", element("pre", {}, JSON.stringify(example, null, 2)))] : []),
    ...(answerTable ? [folded("Members of the answer", answerTable)] : []),
  ];
}

function parametersOf(operation) {
  const described = (operation.parameters ?? []).filter((one) => one.description ?? one.schema?.description);
  if (described.length === 0) return [];
  const rows = described.map((one) => [
    element("code", {}, one.name),
    one.in,
    inline(one.description ?? one.schema.description),
  ]);
  return [element("h3", {}, "Parameters"), table(["name", "in", ""], rows)];
}

/** Not worth a word at each answer. */
const ON_MANY = /^(?:X-Request-ID|X-API-Version|WWW-Authenticate|X-RateLimit-.*|RateLimit.*)$/;

function answerRow([status, response]) {
  const kind = status < 400 ? "ok" : status < 500 ? "no" : "bad";
  const headers = Object.keys(response.headers ?? {}).filter((name) => !ON_MANY.test(name));
  const named = headers.flatMap((name) => [" ", element("code", {}, name)]);
  const also = named.length === 0 ? [] : [element("div", { className: "who" }, "with", ...named)];
  return [element("span", { className: `status ${kind}` }, status), [...inline(response.description), ...also]];
}

function folded(title, content) {
  return element("details", {}, element("summary", { className: "who" }, title), content);
}

function sectionOf(tag, routes, components) {
  return element(
    "section",
    { id: `tag-${tag}` },
    element("h2", {}, titleOf(tag)),
    element("p", {}, ...inline(GROUPS.get(tag)?.[1])),
    ...routes.map((route) => routeElement(route, components)),
  );
}

function contentsOf(tag, routes) {
  return element(
    "div",
    {},
    element("h2", {}, titleOf(tag)),
    ...routes.map(({ method, path, operation }) => {
      const words = `${method} ${path} ${operation.summary}`.toLowerCase();
      const title = `${method.toUpperCase()} ${path}`;
      return element(
        "a",
        { href: `#${idOf(method, path)}`, title, data: { words } },
        methodMark(method),
        element("span", {}, operation.summary ?? path),
      );
    }),
  );
}

/** Hides what does not hold every word that was typed. */
function filterBy(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of document.querySelectorAll("[data-words]"))
    one.hidden = !words.every((word) => one.dataset.words.includes(word));
  for (const group of document.querySelectorAll("#routes > section, #contents > div"))
    group.hidden = group.querySelectorAll("[data-words]:not([hidden])").length === 0;
}

/** Opens the route that the address names. */
function openNamed() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(target instanceof HTMLDetailsElement)) return;
  if (target.hidden) {
    document.getElementById("filter").value = "";
    filterBy("");
  }
  target.open = true;
  target.scrollIntoView();
}

async function main() {
  const openapi = await (await fetch("/openapi.json")).json();
  const components = openapi.components?.schemas ?? {};
  document.getElementById("version").textContent = openapi.info.version;
  const whole = element("p", {}, "The whole document: ", element("a", { href: "/openapi.json" }, "/openapi.json"));
  document.getElementById("about").replaceChildren(...paragraphs(openapi.info.description), whole);
  const groups = routesByTag(openapi);
  const at = (id) => document.getElementById(id);
  at("routes").append(...groups.map(([tag, routes]) => sectionOf(tag, routes, components)));
  at("contents").append(...groups.map(([tag, routes]) => contentsOf(tag, routes)));
  at("filter").addEventListener("input", ({ target }) => filterBy(target.value));
  at("identity").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", openNamed);
  openNamed();
}

main().catch((error) => {
  document.getElementById("about").textContent = `The document could not be read: ${error}`;
});
