/**
 * Holds `protocol/sampler-names` to what ComfyUI lists.
 */
import { describe, expect, it } from "vitest";
import { COMFYUI_SAMPLERS, comfyuiSampler, SAMPLERS } from "../../../src/protocol/sampler-names.ts";

describe("samplers", () => {
  it("maps every accepted name to one that ComfyUI knows, its own names to themselves", () => {
    const known: readonly string[] = COMFYUI_SAMPLERS;
    for (const name of SAMPLERS) expect(known).toContain(comfyuiSampler(name));
    for (const name of COMFYUI_SAMPLERS) expect(comfyuiSampler(name)).toBe(name);
  });

  it("knows the names that the founding systems taught", () => {
    expect(comfyuiSampler("euler_a")).toBe("euler_ancestral");
    expect(comfyuiSampler("dpm_2_a")).toBe("dpm_2_ancestral");
    expect(comfyuiSampler("dpm_plus_plus_2s_a")).toBe("dpmpp_2s_ancestral");
    expect(comfyuiSampler("dpm_plus_plus_2m")).toBe("dpmpp_2m");
    expect(comfyuiSampler("dpm_plus_plus_sde")).toBe("dpmpp_sde");
  });
});
