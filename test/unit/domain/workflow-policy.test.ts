/**
 * Holds `domain/workflow-policy` to its promise: no file name of a graph leaves ComfyUI's own folders.
 */
import { describe, expect, it } from "vitest";
import { refusedByPolicy } from "../../../src/domain/workflow-policy.ts";
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
      expect(refusedByPolicy(graph(classType, { [input]: name }))).toMatchObject({
        code: "INVALID_WORKFLOW",
        details: { reason: "bad_file_name", node: "7", input },
      });
  });

  it("accepts plain names, folders with either separator, two dots inside a name, and links", () => {
    for (const name of ["a.png", "SDXL/base.safetensors", "SDXL\\base.safetensors", "v1..5.ckpt", "[output].png"])
      expect(refusedByPolicy(graph("LoadImage", { image: name, ckpt_name: name }))).toBeNull();
    expect(refusedByPolicy(graph("LoadImage", { image: ["4", 0] }))).toBeNull();
  });

  it("B88-B90: refuses a prefix of 300 characters, an embedding outside, a pattern that never ends", () => {
    const reasonOf = (classType: string, inputs: { [name: string]: Json }) =>
      refusedByPolicy(graph(classType, inputs))?.details.reason;
    expect(reasonOf("SaveImage", { filename_prefix: "x".repeat(300) })).toBe("prefix_too_long");
    expect(reasonOf("SaveImage", { filename_prefix: "../../x%date:yyyy%" })).toBeUndefined();
    for (const text of ["a (embedding:../../x:1.2)", "embedding:/etc/passwd", "embedding:a/../../x"])
      expect([text, reasonOf("CLIPTextEncode", { text })]).toEqual([text, "bad_file_name"]);
    for (const text of ["embedding:easynegative, a cat", "embedding:sdxl/neg v1..5"])
      expect(reasonOf("CLIPTextEncode", { text })).toBeUndefined();
    for (const pattern of ["(a+)+$", "(a|b*)*", "(x{2,})+"])
      expect([pattern, reasonOf("RegexExtract", { regex_pattern: pattern })]).toEqual([pattern, "costly_pattern"]);
    expect(reasonOf("RegexExtract", { regex_pattern: "^a+(b|c)d*$" })).toBeUndefined();
  });

  it("B74, B75: refuses what changes the machine for others, wherever it stands, unless the pool lets it through", () => {
    const saver = { ...graph("SaveImage", {}), "9": { class_type: "CheckpointSave", inputs: {} } };
    expect(refusedByPolicy(saver)).toMatchObject({ code: "NODE_NOT_ALLOWED", details: { node: "9" } });
    expect(refusedByPolicy(saver, ["CheckpointSave"])).toBeNull();
  });

  it("leaves prompts and the base64 of other classes alone", () => {
    expect(refusedByPolicy(graph("CLIPTextEncode", { text: "/ ../ [output]" }))).toBeNull();
    expect(refusedByPolicy(graph("LoadImageFromBase64", { image: "/9j/4AAQ" }))).toBeNull();
  });
});
