/**
 * Owns the names of samplers and schedulers: ComfyUI's own, and the aliases other systems taught people.
 * Invariant: every accepted name maps to exactly one name that ComfyUI's KSampler lists.
 */

export const COMFYUI_SAMPLERS = [
  "euler",
  "euler_cfg_pp",
  "euler_ancestral",
  "euler_ancestral_cfg_pp",
  "heun",
  "heunpp2",
  "dpm_2",
  "dpm_2_ancestral",
  "lms",
  "dpm_fast",
  "dpm_adaptive",
  "dpmpp_2s_ancestral",
  "dpmpp_2s_ancestral_cfg_pp",
  "dpmpp_sde",
  "dpmpp_sde_gpu",
  "dpmpp_2m",
  "dpmpp_2m_cfg_pp",
  "dpmpp_2m_sde",
  "dpmpp_2m_sde_gpu",
  "dpmpp_2m_sde_heun",
  "dpmpp_2m_sde_heun_gpu",
  "dpmpp_3m_sde",
  "dpmpp_3m_sde_gpu",
  "ddpm",
  "lcm",
  "ipndm",
  "ipndm_v",
  "deis",
  "res_multistep",
  "res_multistep_cfg_pp",
  "res_multistep_ancestral",
  "res_multistep_ancestral_cfg_pp",
  "gradient_estimation",
  "gradient_estimation_cfg_pp",
  "er_sde",
  "seeds_2",
  "seeds_3",
  "sa_solver",
  "sa_solver_pece",
  "ddim",
  "uni_pc",
  "uni_pc_bh2",
] as const;
export type ComfyuiSampler = (typeof COMFYUI_SAMPLERS)[number];

const ALIASES = {
  euler_a: "euler_ancestral",
  dpm_2_a: "dpm_2_ancestral",
  dpmpp_2s_a: "dpmpp_2s_ancestral",
  dpm_plus_plus_2s_a: "dpmpp_2s_ancestral",
  dpm_plus_plus_2m: "dpmpp_2m",
  dpm_plus_plus_2m_sde: "dpmpp_2m_sde",
  dpm_plus_plus_sde: "dpmpp_sde",
} as const satisfies { [alias: string]: ComfyuiSampler };

/** Every name `sampler` may have in a request. */
export const SAMPLERS = [...COMFYUI_SAMPLERS, ...(Object.keys(ALIASES) as (keyof typeof ALIASES)[])] as const;
export type Sampler = (typeof SAMPLERS)[number];

export const SCHEDULERS = [
  "normal",
  "karras",
  "exponential",
  "sgm_uniform",
  "simple",
  "ddim_uniform",
  "beta",
  "linear_quadratic",
  "kl_optimal",
] as const;
export type Scheduler = (typeof SCHEDULERS)[number];

/** The name ComfyUI knows for an accepted one. */
export function comfyuiSampler(name: Sampler): ComfyuiSampler {
  return name in ALIASES ? ALIASES[name as keyof typeof ALIASES] : (name as ComfyuiSampler);
}
