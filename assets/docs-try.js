/**
 * Owns the form under a route: what is sent, the same as a curl line, and what came back.
 * Invariant: asks nobody but the host it came from; the key stays in its field, and a curl line names it as $KEY.
 */
import { element } from "/docs-dom.js";
import { phrase, starter } from "/docs-schema.js";

const SHOWN_BYTES = 200_000;

/** Nodes of the form for one operation. */
export function tryForm(method, path, operation, components) {
  // Whom a service key acts for stands once for all, beside the key.
  const asked = (operation.parameters ?? []).filter(({ name }) => name !== "X-User-ID");
  const fields = asked.map((parameter) => field(parameter, components));
  const content = operation.requestBody?.content?.["application/json"];
  const body = content ? bodyField(content, components) : null;
  const answer = element("output", { hidden: true });
  const curl = element("pre", { hidden: true });
  const send = element("button", { className: "send", type: "button", textContent: "Send" });
  const asCurl = element("button", { type: "button", textContent: "As curl" });
  const request = () => requestOf(method, path, fields, body);
  send.addEventListener("click", () => run(request(), send, answer));
  asCurl.addEventListener("click", () => {
    curl.hidden = !curl.hidden;
    curl.textContent = curlOf(request());
  });
  return element(
    "div",
    { className: "try" },
    ...fields.map(({ label }) => label),
    ...(body ? [element("label", { className: "wide" }, "Body", body)] : []),
    element("div", { className: "bar" }, send, asCurl),
    curl,
    answer,
  );
}

function field(parameter, components) {
  const example = parameter.example ?? parameter.schema?.example ?? parameter.schema?.default;
  const input = element("input", {
    placeholder: String(example ?? phrase(parameter.schema, components)).replace(/^string$/, ""),
    title: parameter.description ?? "",
    spellcheck: false,
  });
  const name = element("span", { className: parameter.required ? "needed" : "" }, parameter.name);
  return { parameter, input, label: element("label", {}, name, input) };
}

function bodyField(content, components) {
  const example =
    content.example ?? Object.values(content.examples ?? {})[0]?.value ?? starter(content.schema, components);
  const text = JSON.stringify(example, null, 2);
  return element("textarea", {
    rows: Math.min(18, text.split("\n").length + 1),
    value: text,
    spellcheck: false,
  });
}

function requestOf(method, path, fields, body) {
  let url = path;
  const query = new URLSearchParams();
  const headers = identity();
  if (body) headers["Content-Type"] = "application/json";
  for (const { parameter, input } of fields) {
    const { value } = input;
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (parameter.in === "query") query.set(parameter.name, value);
    else headers[parameter.name] = value;
  }
  if (query.size > 0) url += `?${query}`;
  return { url, method: method.toUpperCase(), headers, ...(body ? { body: body.value } : {}) };
}

function identity() {
  const key = document.getElementById("key").value.trim();
  const user = document.getElementById("user").value.trim();
  return { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...(user ? { "X-User-ID": user } : {}) };
}

function curlOf({ url, method, headers, body }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [`curl -s ${method === "GET" ? "" : `-X ${method} `}"$URL${url}"`];
  for (const [name, value] of Object.entries(headers))
    lines.push(name === "Authorization" ? '-H "Authorization: Bearer $KEY"' : `-H ${quoted(`${name}: ${value}`)}`);
  if (body !== undefined) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

async function run({ url, ...init }, button, answer) {
  button.disabled = true;
  answer.hidden = false;
  answer.replaceChildren(element("pre", {}, "…"));
  const startedMs = performance.now();
  try {
    const response = await fetch(url, init);
    answer.replaceChildren(...(await shown(response, performance.now() - startedMs)));
  } catch (error) {
    answer.replaceChildren(element("pre", {}, String(error)));
  }
  button.disabled = false;
}

async function shown(response, ms) {
  // Where a redirect leads takes no key of ours, so what was answered there to this form says nothing.
  if (response.redirected) return [element("p", {}, "302, to ", element("a", { href: response.url }, "the file"))];
  const { status, statusText } = response;
  const kind = status < 300 ? "ok" : status < 500 ? "no" : "bad";
  const line = element("span", { className: `status ${kind}` }, `${status} ${statusText}`);
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  const more = element(
    "details",
    {},
    element("summary", {}, `headers, ${Math.round(ms)} ms`),
    element("pre", {}, headers),
  );
  return [line, more, await bodyOf(response)];
}

async function bodyOf(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("image/"))
    return element("p", {}, "A picture: ", element("a", { href: response.url }, "open it"));
  if (type.startsWith("text/event-stream")) return element("pre", {}, await firstEvents(response));
  const text = await response.text();
  return element("pre", {}, (type.includes("json") ? pretty(text) : text).slice(0, SHOWN_BYTES));
}

/** What a stream says within two seconds. */
async function firstEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => reader.cancel(), 2_000);
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
  clearTimeout(timer);
  return text;
}

function pretty(text) {
  try {
    // Numbers beyond 2^53 must stay as they came: only what loses nothing is laid out anew.
    const laid = JSON.stringify(JSON.parse(text), null, 2);
    const digits = (given) => (given.match(/\d{16,}/g) ?? []).join();
    return digits(laid) === digits(text) ? laid : text;
  } catch {
    return text;
  }
}
