/**
 * Owns submitting, listing, stopping and forgetting prompts over HTTP.
 * Invariant: a 200 for a submit means that the prompt is in the queue, running, or in history.
 */
import { randomUUID } from "node:crypto";
import { str } from "../coercion.ts";
import type { HistoryEntry } from "../history.ts";
import { type Call, empty, json, jsonBody, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { shownItem } from "../prompt-queue.ts";
import { type Dumpable, isMap, type Json, type JsonMap, numberOf, PyFloat } from "../python-json.ts";
import { problem, validatePrompt } from "../validation.ts";

type Submit = { number: number | PyFloat; body: JsonMap };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function promptRoutes(machine: () => Machine): Routes {
  return {
    "GET /prompt": () => json(machine().queueInfo()),
    "POST /prompt": (call) => submit(machine(), call),
    "GET /queue": () => json(shownQueue(machine())),
    "POST /queue": (call) => changeQueue(machine(), call),
    "POST /interrupt": (call) => interrupt(machine(), call),
    "POST /free": (call) => free(machine(), call),
    "GET /history": (call) => listHistory(machine(), call),
    "GET /history/{}": (call) => {
      const entry = machine().history.get(call.params[0] ?? "");
      return json(entry ? new Map([[call.params[0] ?? "", shownEntry(entry)]]) : {});
    },
    "POST /history": (call) => changeHistory(machine(), call),
  };
}

function submit(machine: Machine, call: Call): Reply {
  machine.timeline.note("POST /prompt");
  const body = jsonBody(call);
  const fields = isMap(body) ? body : new Map<string, Json>();
  const given = fields.get("number");
  const number = given === undefined ? machine.number : floatOf(given);
  if (given === undefined) machine.number += 1;
  const signed = given === undefined && fields.get("front") === true && typeof number === "number" ? -number : number;
  if (!fields.has("prompt")) return refused(problem("no_prompt", "No prompt provided", "No prompt provided"));
  return accept(machine, { number: signed, body: fields });
}

function floatOf(given: Json): PyFloat {
  const value = typeof given === "string" ? Number(given) : numberOf(given);
  if (value === null || Number.isNaN(value)) throw new TypeError("could not convert to float");
  return new PyFloat(value);
}

function refused(error: Dumpable, nodeErrors: Dumpable = {}): Reply {
  return json({ error, node_errors: nodeErrors }, 400);
}

function accept(machine: Machine, { number, body }: Submit): Reply {
  const id = body.get("prompt_id");
  if (machine.isNew && id !== undefined && id !== null && !(typeof id === "string" && UUID.test(id))) {
    return refused(problem("invalid_prompt_id", "prompt_id must be a canonical UUID", "invalid prompt_id"));
  }
  const promptId = id === undefined || (machine.isNew && id === null) ? randomUUID() : str(id);
  const prompt = body.get("prompt");
  if (!isMap(prompt)) throw new TypeError("the prompt is not a dict");
  const targets = body.get("partial_execution_targets");
  const chosen = Array.isArray(targets) ? targets.map(str) : null;
  const verdict = validatePrompt(prompt, chosen, machine);
  if (!verdict.isValid) return refused(verdict.error, verdict.nodeErrors);
  const extra = body.get("extra_data");
  const extraData = new Map(isMap(extra) ? extra : []);
  const clientId = body.get("client_id");
  if (clientId !== undefined) extraData.set("client_id", clientId);
  if (machine.isNew) extraData.set("create_time", Date.now());
  machine.enqueue({ number, promptId, prompt, extraData, outputs: verdict.outputs });
  return json({ prompt_id: promptId, number, node_errors: verdict.nodeErrors });
}

function shownQueue(machine: Machine): Dumpable {
  const running = machine.queue.running;
  return {
    queue_running: running ? [shownItem(running)] : [],
    queue_pending: machine.queue.pending.map(shownItem),
  };
}

function changeQueue(machine: Machine, call: Call): Reply {
  const body = jsonBody(call);
  if (!isMap(body)) return empty();
  if (body.get("clear") === true) {
    machine.queue.clear();
    machine.sendStatus();
  }
  const ids = body.get("delete");
  for (const id of Array.isArray(ids) ? ids : []) {
    if (machine.queue.remove(str(id))) machine.sendStatus();
  }
  return empty();
}

function interrupt(machine: Machine, call: Call): Reply {
  machine.timeline.note("POST /interrupt");
  const id = interruptTarget(call);
  if (id === null || machine.queue.running?.promptId === id) machine.interruptAsked = true;
  return empty();
}

/** Null: whatever is running. Broken JSON counts as no body; JSON that is no object is a bug there too (500). */
function interruptTarget(call: Call): string | null {
  let body: Json;
  try {
    body = jsonBody(call);
  } catch {
    return null;
  }
  if (!isMap(body)) throw new TypeError("object has no attribute 'get'");
  const id = body.get("prompt_id");
  return id === undefined || id === null || id === "" ? null : str(id);
}

function free(machine: Machine, call: Call): Reply {
  const body = jsonBody(call);
  if (!isMap(body)) throw new TypeError("object has no attribute 'get'");
  const dropsCaches = body.get("free_memory") === true;
  if (body.get("unload_models") === true || dropsCaches) machine.free.unloadModels = true;
  if (dropsCaches) machine.free.freeMemory = true;
  machine.nudge();
  return empty();
}

function listHistory(machine: Machine, call: Call): Reply {
  const max = wholeNumber(call.query.get("max_items"));
  const offset = wholeNumber(call.query.get("offset")) ?? -1;
  const listed = machine.history.list(max, offset);
  return json(new Map([...listed].map(([id, entry]) => [id, shownEntry(entry)])));
}

/** Throws, as int() does, for text that is no whole number. */
function wholeNumber(text: string | null): number | null {
  if (text === null) return null;
  if (!/^\s*[+-]?\d+\s*$/.test(text)) throw new TypeError("invalid literal for int()");
  return Number.parseInt(text, 10);
}

function shownEntry(entry: HistoryEntry): Dumpable {
  return { prompt: entry.prompt, outputs: entry.outputs, status: entry.status, meta: entry.meta };
}

function changeHistory(machine: Machine, call: Call): Reply {
  const body = jsonBody(call);
  if (!isMap(body)) return empty();
  if (body.get("clear") === true) machine.history.clear();
  const ids = body.get("delete");
  for (const id of Array.isArray(ids) ? ids : []) machine.history.delete(str(id));
  return empty();
}
