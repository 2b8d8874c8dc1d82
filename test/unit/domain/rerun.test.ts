/**
 * Holds `domain/rerun` to its promise: the same text without a seed, nothing but literal seeds changed with one.
 */
import { describe, expect, it } from "vitest";
import { type Ran, reseeded } from "../../../src/domain/rerun.ts";

const text =
  '{"1":{"class_type":"KSampler","inputs":{"seed":18446744073709551615,"cfg":8.0,"model":["2",0]}},' +
  '"2":{"class_type":"Noise","inputs":{"noise_seed":18446744073709551615,"seed":["1",0],"text":"seed"}}}';
const workflow: Ran = { source: "workflow", params_text: null, workflow_text: text, seed: "18446744073709551615" };

describe("a rerun", () => {
  it("without a seed is the same to the last digit", () => {
    expect(reseeded(workflow, null)).toEqual({ ok: true, value: workflow });
  });

  it("with a seed changes the literal seeds and leaves links, texts and other numbers as they were written", () => {
    const done = reseeded(workflow, "9007199254740993");
    expect(done.ok && done.value.workflow_text).toBe(text.replaceAll("18446744073709551615", "9007199254740993"));
    expect(done.ok && done.value.seed).toBe("9007199254740993");
  });

  it("refuses a seed for a graph without a single one, and one too large for parameters", () => {
    expect(reseeded({ ...workflow, seed: null }, "1")).toMatchObject({ refusal: { details: { field: "seed" } } });
    const parameters: Ran = { ...workflow, source: "parameters", params_text: '{"seed":1}' };
    expect(reseeded(parameters, "4294967296")).toMatchObject({ refusal: { code: "VALIDATION_ERROR" } });
  });
});
