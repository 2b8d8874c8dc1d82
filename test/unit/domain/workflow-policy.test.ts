/**
 * Holds `domain/workflow-policy` to its promise: no file name of a graph leaves ComfyUI's own folders.
 */
import { describe, expect, it } from "vitest";
import { refusedFileName } from "../../../src/domain/workflow-policy.ts";
import type { Json } from "../../../src/protocol/json.ts";

const graph = (class_type: string, inputs: { [name: string]: Json }) => ({ "7": { class_type, inputs } });

describe("file names", () => {
  it.each([
    "../../etc/passwd",
    "a/../../b.png",
    "..",
    "/etc/passwd",
    "..\\..\\x",
    "\\\\host\\share",
    "C:\\x.png",
    "file:///x",
    "~/x",
    "other.png [output]",
    "other.png [TEMP]  ",
    "a\nb.png",
    "",
    "x".repeat(256),
  ])("refuses %j for an image and for a model", (name) => {
    for (const [classType, input] of [
      ["LoadImage", "image"],
      ["CheckpointLoaderSimple", "ckpt_name"],
      ["SomebodysLoader", "lora_name"],
    ] as const)
      expect(refusedFileName(graph(classType, { [input]: name }))).toMatchObject({
        code: "INVALID_WORKFLOW",
        details: { reason: "bad_file_name", node: "7", input },
      });
  });

  it("accepts plain names, folders with either separator, two dots inside a name, and links", () => {
    for (const name of ["a.png", "SDXL/base.safetensors", "SDXL\\base.safetensors", "v1..5.ckpt", "[output].png"])
      expect(refusedFileName(graph("LoadImage", { image: name, ckpt_name: name }))).toBeNull();
    expect(refusedFileName(graph("LoadImage", { image: ["4", 0] }))).toBeNull();
  });

  it("leaves prompts and the base64 of other classes alone", () => {
    expect(refusedFileName(graph("CLIPTextEncode", { text: "/ ../ [output]" }))).toBeNull();
    expect(refusedFileName(graph("LoadImageFromBase64", { image: "/9j/4AAQ" }))).toBeNull();
  });
});
