/**
 * Owns what the page shows of a job.
 * Invariant: only what was heard is shown, and as text: nothing a job says becomes markup; within an attempt the bar never falls.
 */

const at = (id) => document.getElementById(id);

function element(name, props = {}, ...children) {
  const made = Object.assign(document.createElement(name), props);
  made.append(...children);
  return made;
}

const OVER = ["succeeded", "failed", "canceled", "expired"];
export const isOver = (status) => OVER.includes(status);

const LINKS = { connecting: "Connecting…", live: "Live", lost: "Connection lost, trying again…", over: "Over" };

const WAITS = {
  own_limit: "Waiting for another of your jobs to end",
  all_busy: "Waiting for a free GPU",
  no_agent: "Waiting: no GPU is connected",
  no_agent_has_model: "Waiting: no connected GPU has the model",
  no_agent_has_node: "Waiting: no connected GPU has the node",
  pool_paused: "Waiting: the pool is paused",
  backoff: "Waiting to be tried again",
  preparing: "Getting ready",
};
const PHASES = {
  preparing: "Getting ready",
  loading: "Loading the model",
  executing: "Running",
  uploading: "Storing the result",
};
const ENDS = { failed: "Failed", canceled: "Canceled", expired: "Expired before a GPU was free" };

export const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`);

export function showLink(state) {
  at("link").dataset.state = state;
  at("link").lastElementChild.textContent = LINKS[state] ?? "";
}

/** `job`: what is known of it, as `demo.js` collects it. */
export function showJob(job) {
  at("access").hidden = true;
  at("job").hidden = false;
  at("job").dataset.status = job.status ?? "";
  at("stage").dataset.busy = String(["queued", "running", "canceling"].includes(job.status));
  showBar(job);
  setText("headline", headline(job));
  setText("subline", subline(job));
  document.title = `${job.status === "running" ? `${percent(job)} % · ` : ""}${headline(job) || "A job"} · Comfy Edge`;
  const hadFocus = document.activeElement === at("cancel");
  at("cancel").hidden = !job.hasKey || !["queued", "running"].includes(job.status);
  at("again").hidden = !job.hasKey || !isOver(job.status);
  // A keyboard stays where something is said.
  if (hadFocus && at("cancel").hidden) at("headline").focus();
  setText("jobid", job.id);
}

/** Written only when it changes: what is announced is announced once. */
function setText(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function percent({ progress, status }) {
  return status === "succeeded" ? 100 : Math.min(99, Math.floor(progress * 100));
}

function showBar(job) {
  const whole = percent(job);
  at("bar").firstElementChild.style.setProperty("--share", job.status === "succeeded" ? 1 : job.progress);
  at("bar").setAttribute("aria-valuenow", whole);
  at("bar").setAttribute("aria-valuetext", `${whole} %, ${headline(job)}`);
  at("percent").textContent = ["running", "canceling"].includes(job.status) ? `${whole} %` : "";
}

function headline({ status, detail, waiting, tookMs }) {
  if (status === null) return "";
  if (status === "queued") return WAITS[waiting?.reason] ?? "Waiting in the queue";
  if (status === "running") return PHASES[detail?.phase] ?? "Started";
  if (status === "canceling") return "Stopping…";
  if (status === "succeeded") return tookMs === null ? "Done" : `Done in ${seconds(tookMs)}`;
  return ENDS[status];
}

function subline({ status, detail, waiting, error, attempt, maxAttempts }) {
  if (status === "queued") return waitLine(waiting);
  if (status === "failed" || status === "expired") return error ? `${error.message} (${error.code})` : "";
  if (status === "canceled") return "Nothing of it was kept.";
  if (status !== "running" || !detail) return "";
  return [
    detail.current_step !== null && detail.total_steps !== null
      ? `step ${detail.current_step} of ${detail.total_steps}`
      : "",
    detail.current_node_type ?? "",
    detail.nodes_done !== null && detail.nodes_total !== null
      ? `${detail.nodes_done} of ${detail.nodes_total} nodes`
      : "",
    attempt > 1 ? `attempt ${attempt} of ${maxAttempts}` : "",
    detail.message ?? "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}

function waitLine(waiting) {
  if (!waiting) return "";
  if (waiting.missing.length > 0) return `missing: ${waiting.missing.map(({ name }) => name).join(", ")}`;
  if (waiting.position === null) return "";
  return waiting.position === 0 ? "next in turn" : `${waiting.position} before it`;
}

/** The page takes the picture's shape before there is a picture: nothing jumps when it comes. */
function shape({ width, height }) {
  if (width > 0 && height > 0) document.body.style.setProperty("--ratio", String(width / height));
}

/** What was asked for, where the key may read it. */
export function showParams(params) {
  if (!params) return;
  shape(params);
  at("prompt").hidden = typeof params.prompt !== "string" || params.prompt === "";
  at("prompt").textContent = params.prompt ?? "";
}

let previewUrl = null;
export function showPreview(blob) {
  if (previewUrl) URL.revokeObjectURL(previewUrl);
  previewUrl = URL.createObjectURL(blob);
  const image = at("preview");
  image.src = previewUrl;
  image.alt = "Preview of the picture so far";
  image.hidden = false;
  at("stage").dataset.empty = "false";
}

export function showArtifacts(artifacts, prompt) {
  if (artifacts.length === 0) return;
  const thumbs = artifacts.map((artifact, n) =>
    element(
      "button",
      {
        type: "button",
        className: "pick",
        ariaLabel: `Result ${n + 1}: ${artifact.filename}`,
        onclick: () => choose(n),
      },
      thumb(artifact),
    ),
  );
  const choose = (n) => {
    for (const [m, button] of thumbs.entries()) button.setAttribute("aria-pressed", String(m === n));
    showArtifact(artifacts[n], prompt);
  };
  at("more").replaceChildren(...thumbs);
  at("more").hidden = artifacts.length < 2;
  choose(0);
}

function thumb({ type, url }) {
  return type === "image" && url
    ? element("img", { src: url, alt: "", loading: "lazy", className: "thumb" })
    : element("span", { textContent: type });
}

function showArtifact(artifact, prompt) {
  const shown = shownAs(artifact, prompt);
  const result = at("result");
  result.replaceChildren(shown);
  const reveal = () => {
    result.dataset.shown = "true";
    at("stage").dataset.empty = "false";
    at("preview").hidden = true;
  };
  // A picture comes over its preview only when it is there as a whole.
  if (shown instanceof HTMLImageElement) shown.decode().then(reveal, () => result.replaceChildren(lost()));
  else reveal();
  const save = at("save");
  save.hidden = !artifact.url;
  if (artifact.url) Object.assign(save, { href: artifact.url, download: artifact.filename });
}

function shownAs({ type, url, text, filename, content_type, width, height }, prompt) {
  if (type === "text" && text !== null) return element("pre", { textContent: text });
  if (!url) return lost();
  if (type === "image") {
    shape({ width, height });
    return element("img", {
      src: url,
      alt: prompt ? `The finished picture: ${prompt}` : "The finished picture",
      id: "picture",
    });
  }
  if (type === "video") return element("video", { src: url, controls: true, loop: true, muted: true });
  if (type === "audio") return element("audio", { src: url, controls: true });
  return element("p", { className: "file", textContent: `${filename} (${content_type})` });
}

function lost() {
  at("result").dataset.shown = "true";
  at("stage").dataset.empty = "false";
  return element("p", { className: "file", textContent: "The file could not be shown: its link may have run out." });
}

export function showFacts(receipt) {
  if (!receipt) return;
  const facts = [
    ["waited", seconds(receipt.queue_ms)],
    ...(receipt.attempts > 0
      ? [
          ["loaded", seconds(receipt.load_ms)],
          ["ran", seconds(receipt.run_ms)],
          ["stored", seconds(receipt.upload_ms)],
          ["attempts", String(receipt.attempts)],
          ["GPU", receipt.gpu_name],
        ]
      : []),
  ].filter(([, value]) => value !== null);
  at("facts").replaceChildren(
    ...facts.map(([name, value]) =>
      element(
        "div",
        { className: "fact" },
        element("dt", { textContent: name }),
        element("dd", { textContent: value }),
      ),
    ),
  );
  at("facts").hidden = false;
}

export const isService = (key) => key.startsWith("ce_service_");

/** A service key needs one word more. */
function askForUser() {
  at("userfield").hidden = !isService(at("key").value.trim());
}
at("key").addEventListener("input", askForUser);

/** The form: for a key, and for a job where the address names none. `why` is told as an alert; `access`: what lacked a user. */
export function showForm({ id, why, access = null }) {
  at("job").hidden = true;
  at("access").hidden = false;
  at("idfield").hidden = id !== null;
  at("id").value = id ?? "";
  at("why").textContent = why;
  showLink("idle");
  if (access) at("key").value = access.key;
  askForUser();
  const first = id === null ? "id" : access ? "user" : "key";
  at(first).focus();
}

/** An end of the watch that no key would change. */
export function showNothing(text, more) {
  at("access").hidden = true;
  at("job").hidden = false;
  for (const id of ["stage", "bar", "cancel", "again"]) at(id).hidden = true;
  at("other").hidden = false;
  setText("headline", text);
  setText("subline", more);
  at("percent").textContent = "";
  showLink("idle");
}
