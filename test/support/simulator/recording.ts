/**
 * Owns how a recording of a real server is read: exchanges, frames and sockets in one line of time.
 * Numbers keep every digit, and whether they were floats; objects keep their order.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isMap, type Json, type JsonMap, numberOf, parse, textAt } from "../../../gpu-agent/simulator/python-json.ts";

/** Beside the repository: the same place on every machine that has the recordings. */
const FOLDER = fileURLToPath(new URL("../../../../shared/recordings/", import.meta.url));

export type Exchange = {
  name: string;
  method: string;
  path: string;
  headers: JsonMap;
  body: Json;
  status: number;
  responseHeaders: JsonMap;
  kind: string;
  response: Json;
};
export type Frame = { socket: string; kind: string; data: Json };
export type Step =
  | { at: number; do: "open"; socket: string; path: string }
  | { at: number; do: "close"; socket: string }
  | { at: number; do: "say"; socket: string; text: Json }
  | { at: number; do: "ask"; exchange: Exchange }
  | { at: number; do: "hear"; frame: Frame };
export type Recording = { name: string; steps: Step[] };

export function recordingsAreHere(): boolean {
  return existsSync(FOLDER);
}

export function recordingNames(): string[] {
  return recordingsAreHere()
    ? readdirSync(FOLDER)
        .filter((name) => name.endsWith(".json"))
        .sort()
    : [];
}

export function readRecording(name: string): Recording {
  const root = mapOf(parse(readFileSync(`${FOLDER}${name}`, "utf8")));
  const steps = [
    ...listAt(root, "sockets").flatMap((each) => socketSteps(mapOf(each))),
    ...listAt(root, "http").map((each, index) => exchangeStep(mapOf(each), index)),
    ...listAt(root, "ws").map((each) => frameStep(mapOf(each))),
  ];
  return { name, steps: steps.sort((a, b) => a.at - b.at) };
}

function socketSteps(socket: JsonMap): Step[] {
  const label = textAt(socket, "socket") ?? "";
  const opened: Step = {
    at: timeAt(socket, "opened_t_ms"),
    do: "open",
    socket: label,
    path: textAt(socket, "path") ?? "/ws",
  };
  return [opened, { at: timeAt(socket, "closed_t_ms"), do: "close", socket: label }];
}

function exchangeStep(given: JsonMap, index: number): Step {
  const method = textAt(given, "method") ?? "GET";
  const path = textAt(given, "path") ?? "/";
  const exchange: Exchange = {
    name: `${index + 1}. ${method} ${path.slice(0, 60)} [${textAt(given, "case") ?? ""}]`,
    method,
    path,
    headers: mapOf(given.get("request_headers_relevant") ?? null),
    body: given.get("request_body") ?? null,
    status: numberOf(given.get("status")) ?? 0,
    responseHeaders: mapOf(given.get("response_headers_relevant") ?? null),
    kind: textAt(given, "response_body_kind") ?? "empty",
    response: given.get("response_body") ?? null,
  };
  return { at: timeAt(given, "t_ms"), do: "ask", exchange };
}

function frameStep(given: JsonMap): Step {
  const socket = textAt(given, "socket") ?? "";
  const data = given.get("data") ?? null;
  const at = timeAt(given, "t_ms");
  if (textAt(given, "from") === "client") return { at, do: "say", socket, text: data };
  return { at, do: "hear", frame: { socket, kind: textAt(given, "kind") ?? "text", data } };
}

function timeAt(map: JsonMap, key: string): number {
  return numberOf(map.get(key)) ?? 0;
}

function listAt(map: JsonMap, key: string): Json[] {
  const list = map.get(key);
  return Array.isArray(list) ? list : [];
}

export function mapOf(value: Json): JsonMap {
  return isMap(value) ? value : new Map();
}
