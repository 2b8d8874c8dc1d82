/**
 * Owns the comparison of one answer, and of the frames of one socket, with what was recorded.
 */
import type { IncomingHttpHeaders } from "node:http";
import { dump, isMap, type Json, type JsonMap, parse, textAt } from "../../../gpu-agent/simulator/python-json.ts";
import type { Comparison } from "./compare.ts";
import { describeFrame, describePicture } from "./pictures.ts";
import { type Exchange, type Frame, mapOf } from "./recording.ts";

export type Answer = { status: number; headers: IncomingHttpHeaders; body: Buffer };

/** Recordings in which a model painted: only the kind and size of a picture can agree. */
const PAINTED = /^1[3-6]/;
/** Headers that hold dates and file times. */
const DATED = ["last-modified", "etag"];

export async function compareExchange(
  comparison: Comparison,
  wanted: Exchange,
  got: Answer,
  recording: string,
): Promise<void> {
  const { name } = wanted;
  if (wanted.status !== got.status) comparison.differ(name, "status", String(wanted.status), String(got.status));
  compareHeaders(comparison, wanted, got);
  if (wanted.kind === "json") compareJson(comparison, wanted, got);
  if (wanted.kind === "text") comparison.compare(name, wanted.response, got.body.toString("utf8"));
  if (wanted.kind === "empty" && got.body.length > 0)
    comparison.differ(name, "body", "empty", `${got.body.length} bytes`);
  if (wanted.kind === "binary") await compareBinary(comparison, wanted, got, recording);
}

function compareHeaders(comparison: Comparison, { name, responseHeaders, kind }: Exchange, got: Answer): void {
  const skipped = kind === "empty" ? [] : ["content-length"];
  for (const [header, value] of responseHeaders) {
    const key = header.toLowerCase();
    const actual = got.headers[key];
    const text = typeof actual === "string" ? Buffer.from(actual, "latin1").toString("utf8") : null;
    if (skipped.includes(key) && text !== null) continue;
    if (DATED.includes(key) && text !== null) continue;
    const wanted = comparison.names.get(/"([^"]*)"/.exec(String(value))?.[1] ?? "");
    const renamed = wanted === undefined ? value : String(value).replace(/"[^"]*"/, `"${wanted}"`);
    comparison.compare(name, renamed, text, `header ${key}`);
  }
  for (const key of Object.keys(got.headers)) {
    const isKnown = [...responseHeaders.keys()].some((header) => header.toLowerCase() === key);
    if (!isKnown && !["date", "connection", "keep-alive"].includes(key))
      comparison.differ(name, `header ${key}`, "absent", String(got.headers[key]));
  }
}

/** Equal values must also be equally long: spaces, floats and escapes are the server's. */
function compareJson(comparison: Comparison, wanted: Exchange, got: Answer): void {
  const text = got.body.toString("utf8");
  let value: Json;
  try {
    value = parse(text);
  } catch {
    comparison.differ(wanted.name, "body", "JSON", text.slice(0, 100));
    return;
  }
  comparison.compare(wanted.name, wanted.response, value);
  const length = textAt(wanted.responseHeaders, "Content-Length");
  const isScrubbed = text.includes("/comfyui/");
  if (!isScrubbed && dump(wanted.response) === dump(value) && length !== null && length !== String(got.body.length)) {
    comparison.differ(wanted.name, "header content-length", length, String(got.body.length));
  }
}

async function compareBinary(comparison: Comparison, wanted: Exchange, got: Answer, recording: string): Promise<void> {
  const described = mapOf(wanted.response);
  const image = described.get("image");
  if (isMap(image)) {
    const actual = await describePicture(got.body);
    compareSameness(comparison, wanted.name, image, actual, recording);
    comparison.compare(
      wanted.name,
      comparable(image, recording),
      actual === null ? null : comparable(actual, recording),
      "image",
    );
  } else if (described.has("base64"))
    comparison.compare(wanted.name, described.get("base64") ?? null, got.body.toString("base64"));
}

/** What a model paints cannot be foretold, but whether it paints the same twice can. */
function compareSameness(comparison: Comparison, where: string, image: Json, actual: Json, recording: string): void {
  const [there, here] = [textAt(mapOf(image), "pixels_sha256"), textAt(mapOf(actual), "pixels_sha256")];
  if (PAINTED.test(recording) && there !== null && here !== null) comparison.compareSameness(where, there, here);
}

/** Lossy formats and painted pictures agree in everything but the pixels. */
function comparable(image: JsonMap, recording: string): JsonMap {
  const isExact = image.get("format") === "PNG" && !PAINTED.test(recording);
  return new Map([...image].filter(([key]) => key !== "pixels_sha256" || isExact));
}

/** Statuses of several submits may fall between the frames of a run in another place: then each kind is compared by itself. */
export async function compareFrames(
  comparison: Comparison,
  label: string,
  wanted: Frame[],
  got: (string | Buffer)[],
  recording: string,
): Promise<void> {
  const actual = await Promise.all(
    got.map((frame) => (typeof frame === "string" ? parse(frame) : describeFrame(frame))),
  );
  const expected = wanted.map(({ data }) => data);
  const groups: [string, (frame: Json) => boolean][] = [
    ["status", (frame) => typeOf(frame) === "status"],
    ["frame", (frame) => typeOf(frame) !== "status"],
  ];
  for (const [kind, isOf] of groups) {
    const [there, here] = [expected.filter(isOf), actual.filter(isOf)];
    if (there.length !== here.length) comparison.differ(`socket ${label}`, `${kind} count`, brief(there), brief(here));
    for (const [index, frame] of there.entries()) {
      const other = here[index];
      if (other !== undefined)
        comparison.compare(
          `socket ${label}, ${kind} ${index + 1}`,
          trimmed(frame, recording),
          trimmed(other, recording),
          "frame",
        );
    }
  }
  const order = (frames: Json[]) => frames.map(typeOf).join(" ");
  if (order(expected) !== order(actual))
    comparison.differ(`socket ${label}`, "order of status among frames", "as recorded", "elsewhere");
}

function brief(frames: Json[]): string {
  return `${frames.length}: ${frames.map(typeOf).join(" ").slice(-300)}`;
}

function typeOf(frame: Json): string {
  const map = mapOf(frame);
  return textAt(map, "type") ?? `binary${dump(map.get("event_type"))}`;
}

/** Of a binary frame what both sides describe. */
function trimmed(frame: Json, recording: string): Json {
  if (!isMap(frame) || !frame.has("event_type")) return frame;
  const kept = new Map(
    [...frame].filter(([key]) => ["event_type", "header_hex", "metadata", "image_format"].includes(key)),
  );
  const image = frame.get("image");
  return isMap(image) ? kept.set("image", comparable(image, recording)) : kept;
}
