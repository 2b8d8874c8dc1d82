/**
 * Owns what a real server does not have: the page, the knobs, and the record of what happened.
 * Invariant: these routes answer whatever the knobs do to the others.
 */
import { readFileSync, statSync } from "node:fs";
import { ZodError } from "zod";
import type { Faults } from "../faults.ts";
import { type Call, empty, json, jsonBody, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { type Dumpable, isMap } from "../python-json.ts";
import type { Timeline } from "../timeline.ts";

export type Life = { line: string; life: number; machine: Machine; crashNow(): void };

const PAGE = new URL("../page.html", import.meta.url);

export function simulatorRoutes(faults: Faults, timeline: Timeline, life: () => Life): Routes {
  return {
    "GET /": () => page(),
    "GET /sim/state": () => json(state(life())),
    "GET /sim/timeline": (call) => json(timeline.since(Number(call.query.get("after") ?? 0))),
    "GET /sim/faults": () => json(shown(faults)),
    "POST /sim/faults": (call) => change(faults, call, life()),
    "DELETE /sim/faults": () => {
      faults.reset();
      return empty();
    },
  };
}

function page(): Reply {
  const { mtime, size } = statSync(PAGE);
  const headers = {
    "Content-Type": "text/html",
    "Cache-Control": "no-cache",
    Pragma: "no-cache",
    Expires: "0",
    Etag: `"${mtime.getTime().toString(16)}-${size.toString(16)}"`,
    "Last-Modified": mtime.toUTCString(),
    "Accept-Ranges": "bytes",
  };
  return { status: 200, headers, body: readFileSync(PAGE) };
}

function state({ line, life, machine }: Life): Dumpable {
  const { queue, history, sockets, options } = machine;
  return {
    line,
    life,
    pending: queue.pending.length,
    running: queue.running?.promptId ?? null,
    node: machine.doing?.nodeId ?? null,
    class: machine.doing?.class ?? null,
    value: machine.doing?.value ?? 0,
    max: machine.doing?.max ?? 1,
    finished: history.all().size,
    sockets: sockets.count,
    device: options.gpuName,
    step_ms: options.stepMs,
    loaded_model: machine.loadedModel,
  };
}

/** The knobs are plain JSON by their schema. */
function shown(faults: Faults): Dumpable {
  const plan: { [key: string]: Dumpable } = { ...faults.plan };
  return plan;
}

function change(faults: Faults, call: Call, { crashNow }: Life): Reply {
  if (!isMap(jsonBody(call))) return json({ error: "a JSON object of knobs is wanted" }, 400);
  const given: unknown = JSON.parse(call.body.toString("utf8"));
  try {
    faults.set(typeof given === "object" && given !== null ? { ...given } : {});
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    return json({ error: error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ") }, 400);
  }
  crashNow();
  return json(shown(faults));
}
