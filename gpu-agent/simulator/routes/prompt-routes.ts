/**
 * Owns submitting, listing, stopping and forgetting prompts over HTTP.
 * Invariant: a 200 for a submit means that the prompt is in the queue, running, or in history.
 */
import { randomUUID } from "node:crypto";
import { str, toBool, toFloat } from "../coercion.ts";
import type { HistoryEntry } from "../history.ts";
import { type Call, empty, json, jsonBody, objectBody, type Reply, type Routes, serverError } from "../http-server.ts";
import { askInterrupt, dequeue } from "../interrupts.ts";
import { problem } from "../literal-checks.ts";
import type { Machine } from "../machine.ts";
import { type QueueItem, shownItem, withoutSecrets } from "../prompt-queue.ts";
import { type Dumpable, isMap, type Json, type JsonMap, type PyFloat } from "../python-json.ts";
import { busy } from "../run-context.ts";
import { validatePrompt } from "../validation.ts";

type Submit = { number: number | PyFloat; body: JsonMap; usageSource: string | string[] | undefined };
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

/** Python's `"x" in body`: a list or text has none of the fields, anything else that is no object raises. */
function fieldsOf(call: Call): JsonMap {
  const body = jsonBody(call);
  if (isMap(body)) return body;
  if (Array.isArray(body) || typeof body === "string") return new Map();
  throw new TypeError("argument is not iterable");
}

async function submit(machine: Machine, call: Call): Promise<Reply | "reset"> {
  machine.timeline.note("POST /prompt");
  const body = fieldsOf(call);
  const number = numberFor(machine, body);
  if (!body.has("prompt")) return refused(problem("no_prompt", "No prompt provided", "No prompt provided"));
  const reply = accept(machine, { number, body, usageSource: call.headers["comfy-usage-source"] });
  machine.crashPoint("submit");
  const { faults } = machine;
  if (faults.plan.submitMs !== undefined) await busy(machine, faults.plan.submitMs);
  if (faults.take("submit500")) return serverError();
  return faults.take("submitReset") ? "reset" : reply;
}

/** The caller's own number as a float, or the next automatic one; `front` turns only that around. Throws for text that is no number. */
function numberFor(machine: Machine, body: JsonMap): number | PyFloat {
  const given = body.get("number");
  if (given !== undefined) return toFloat(given);
  const next = machine.number;
  machine.number += 1;
  return toBool(body.get("front") ?? null) ? -next : next;
}

function refused(error: Dumpable, nodeErrors: Dumpable = {}): Reply {
  return json({ error, node_errors: nodeErrors }, 400);
}

function accept(machine: Machine, { number, body, usageSource }: Submit): Reply {
  const id = body.get("prompt_id");
  if (machine.isNew && id !== undefined && id !== null && !(typeof id === "string" && UUID.test(id))) {
    return refused(problem("invalid_prompt_id", "prompt_id must be a canonical UUID", String(str(id)).slice(0, 100)));
  }
  const promptId = id === undefined || (machine.isNew && id === null) ? randomUUID() : str(id);
  const targets = body.get("partial_execution_targets");
  const chosen = Array.isArray(targets) ? targets.filter((id) => typeof id === "string") : null;
  const verdict = validatePrompt(graphOf(body), chosen, machine);
  if (!verdict.isValid) return refused(verdict.error, verdict.nodeErrors);
  const { extraData, ...broken } = extraOf(body);
  if (machine.isNew) extraData.set("create_time", Date.now());
  if (machine.isNew && typeof usageSource === "string") extraData.set("comfy_usage_source", usageSource);
  machine.log.line("got prompt");
  machine.enqueue({ number, promptId, prompt: graphOf(body), extraData, ...broken, outputs: verdict.outputs });
  return json({ prompt_id: promptId, number, node_errors: verdict.nodeErrors });
}

/** An empty list passes for an empty graph; other values that are no object are a bug there (500). */
function graphOf(body: JsonMap): JsonMap {
  const prompt = body.get("prompt");
  if (isMap(prompt)) return prompt;
  if (Array.isArray(prompt) && prompt.length === 0) return new Map();
  throw new TypeError("the prompt is not a dict");
}

/** What is no object is queued as it is; only a `client_id` that must be put into it fails (500). */
function extraOf(body: JsonMap): Pick<QueueItem, "extraData" | "brokenExtra"> {
  const extra = body.get("extra_data");
  const clientId = body.get("client_id");
  if (extra !== undefined && !isMap(extra)) {
    if (clientId !== undefined) throw new TypeError("extra_data does not support item assignment");
    return { extraData: new Map(), brokenExtra: extra };
  }
  const copy = new Map(extra ?? []);
  if (clientId !== undefined) copy.set("client_id", clientId);
  return { extraData: copy };
}

/** The newer line keeps secrets to itself. */
function shownQueue(machine: Machine): Dumpable {
  const shown = (item: QueueItem) =>
    shownItem(machine.isNew ? { ...item, extraData: withoutSecrets(item.extraData) } : item);
  const running = machine.queue.running;
  return { queue_running: running ? [shown(running)] : [], queue_pending: machine.queue.pending.map(shown) };
}

/** Python walks a text letter by letter; what cannot be walked raises. */
function idsOf(body: JsonMap): string[] {
  const ids = body.get("delete");
  if (ids === undefined) return [];
  if (typeof ids === "string") return [...ids];
  if (Array.isArray(ids)) return ids.map(str);
  throw new TypeError("object is not iterable");
}

function changeQueue(machine: Machine, call: Call): Reply {
  const body = fieldsOf(call);
  if (toBool(body.get("clear") ?? null)) {
    machine.queue.clear();
    machine.sendStatus();
  }
  for (const id of idsOf(body)) dequeue(machine, id);
  return empty();
}

function interrupt(machine: Machine, call: Call): Reply {
  machine.timeline.note("POST /interrupt");
  askInterrupt(machine, interruptTarget(call));
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
  return id === undefined || !toBool(id) ? null : str(id);
}

function free(machine: Machine, call: Call): Reply {
  const body = objectBody(call);
  const dropsCaches = toBool(body.get("free_memory") ?? null);
  if (toBool(body.get("unload_models") ?? null) || dropsCaches) machine.free.unloadModels = true;
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

function shownEntry({ item, outputs, status, meta }: HistoryEntry): Dumpable {
  return { prompt: shownItem(item), outputs, status, meta };
}

function changeHistory(machine: Machine, call: Call): Reply {
  const body = fieldsOf(call);
  if (toBool(body.get("clear") ?? null)) machine.history.clear();
  for (const id of idsOf(body)) machine.history.delete(id);
  return empty();
}
