/**
 * Owns the page at /demo/<job>: what it is let in with, what it knows of the job, and what its buttons do.
 * Invariant: a key comes typed or in the fragment, which is taken out of the address at once; it stays in this tab.
 *
 * Reloaded, the page goes on: the key, or the ticket with the number seen last, lies in the tab's session storage.
 */

import {
  isOver,
  isService,
  showArtifacts,
  showFacts,
  showForm,
  showJob,
  showLink,
  showNothing,
  showParams,
  showPreview,
} from "/demo-view.js";
import { headersOf, watch } from "/demo-watch.js";

const LOOK_MS = 3_000;
const JOB = /^j_[0-9a-f]{12}$/;

const REFUSALS = {
  key: "This key is not valid here.",
  user: "A service key acts for one of your users: say for which.",
  ticket: "This link is used up. A key opens the job again.",
};

function newJob(id, access) {
  return {
    id,
    hasKey: Boolean(access.key),
    status: null,
    revision: 0,
    progress: 0,
    detail: null,
    waiting: null,
    params: null,
    error: null,
    tookMs: null,
    attempt: 0,
    maxAttempts: 0,
    refused: false,
  };
}

/** What came in the fragment, else what the tab still knows; null for nothing. */
function takeAccess(id) {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
  if (given.get("key")) return remember(id, { key: given.get("key"), user: given.get("user") ?? "" });
  if (given.get("ticket")) return remember(id, { ticket: given.get("ticket") });
  const ticket = JSON.parse(sessionStorage.getItem(`ticket ${id}`) ?? "null");
  return keyAccess() ?? ticket;
}

function keyAccess() {
  const key = sessionStorage.getItem("key");
  return key ? { key, user: sessionStorage.getItem("user") ?? "" } : null;
}

function remember(id, access) {
  if (access.key) {
    sessionStorage.setItem("key", access.key);
    sessionStorage.setItem("user", access.user);
  } else sessionStorage.setItem(`ticket ${id}`, JSON.stringify({ ...access, seen: access.seen ?? 0 }));
  return access;
}

function forget(id) {
  sessionStorage.removeItem("key");
  sessionStorage.removeItem("user");
  sessionStorage.removeItem(`ticket ${id}`);
}

function open(id) {
  const access = takeAccess(id);
  if (!access) return showForm({ id, why: "" });
  const job = newJob(id, access);
  showJob(job);
  watch(id, access, handlers(job, access), access.seen ?? 0);
  if (access.key) void look(job, access);
}

function handlers(job, access) {
  return {
    link: showLink,
    preview: (_, blob) => !isOver(job.status) && showPreview(blob),
    frame: (frame, last) => {
      if (access.ticket) remember(job.id, { ticket: access.ticket, seen: last });
      take(job, frame);
      showJob(job);
      if (frame.type === "done") ended(job, access, frame);
    },
    refused: (why) => {
      job.refused = true;
      if (why === "job") showNothing("There is no such job", "Or this key may not see it.");
      else if (why === "disabled") showNothing("Live views are switched off", "The job itself goes on.");
      else {
        // A ticket is kept: a page that is left hears its stream break off, and the next one may still come back by it.
        if (why !== "ticket") forget(job.id);
        showForm({ id: job.id, why: REFUSALS[why], access: why === "user" ? access : null });
      }
    },
  };
}

function take(job, frame) {
  if (frame.type === "status") {
    const isNews = frame.revision > job.revision;
    // The same attempt seen again after a loss: what is shown never falls. A new one begins anew.
    job.progress = isNews && frame.status !== job.status ? frame.progress : Math.max(job.progress, frame.progress);
    if (isNews && frame.status === "queued") job.detail = null;
    job.status = frame.status;
    job.revision = Math.max(job.revision, frame.revision);
  } else if (frame.type === "progress") {
    job.progress = Math.max(job.progress, frame.progress);
    job.detail = frame.progress_detail;
  } else if (frame.type === "done") {
    job.status = frame.status;
    job.error = frame.error;
    if (frame.result?.generation_time) job.tookMs = frame.result.generation_time * 1000;
  }
}

function ended(job, access, { result }) {
  showArtifacts(result?.artifacts ?? [], job.params?.prompt);
  if (access.key) void look(job, access);
}

/** What the stream does not tell: what was asked for, why it waits, what it cost. */
async function look(job, access) {
  const view = await read(job.id, access);
  if (job.refused) return;
  if (view) {
    Object.assign(job, {
      params: view.params,
      waiting: view.waiting,
      attempt: view.attempt,
      maxAttempts: view.max_attempts,
    });
    showParams(view.params);
    if (isOver(view.status)) showFacts(view.receipt);
    if (job.status !== null) showJob(job);
  }
  if (!isOver(job.status)) setTimeout(() => look(job, access), LOOK_MS);
}

async function read(id, access) {
  try {
    const answer = await fetch(`/api/v1/jobs/${id}`, { headers: headersOf(access) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

async function post(path, body) {
  const headers = { ...headersOf(keyAccess() ?? { key: "" }), "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer.json();
}

/** One call at a time; what went wrong is said where the job speaks. */
function onClick(button, act) {
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    // Not `disabled`: that would take the keyboard's place away.
    button.ariaDisabled = "true";
    try {
      await act();
    } catch (error) {
      document.getElementById("subline").textContent = error.message;
    } finally {
      button.ariaDisabled = "false";
    }
  });
}

const named = decodeURIComponent(location.pathname.split("/")[2] ?? "");
onClick(document.getElementById("cancel"), () => post(`/api/v1/jobs/${named}/cancel`, {}));
onClick(document.getElementById("again"), async () => {
  const { job_id } = await post(`/api/v1/jobs/${named}/rerun`, { seed: -1 });
  location.assign(`/demo/${job_id}`);
});
onClick(document.getElementById("other"), () => {
  forget(named);
  location.reload();
});
document.getElementById("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = document.getElementById("id").value.trim();
  const key = document.getElementById("key").value.trim();
  const user = isService(key) ? document.getElementById("user").value.trim() : "";
  if (!JOB.test(id) || key === "")
    return showForm({ id: JOB.test(named) ? named : null, why: "A job and a key are needed." });
  remember(id, { key, user });
  if (id === named) open(id);
  else location.assign(`/demo/${id}`);
});

// Brought back by the browser as it was left: its watch has ended.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
if (JOB.test(named)) open(named);
else showForm({ id: null, why: named === "" ? "" : "That is no job id." });
