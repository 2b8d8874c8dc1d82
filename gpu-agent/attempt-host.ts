/**
 * Owns what an attempt is given by the agent around it, and what it tells that agent.
 * Invariant: types alone; an attempt knows nothing else of slots, offers or the process.
 */
import type { ComfyFolders } from "./comfyui/folders.ts";
import type { ComfySession } from "./comfyui/session.ts";
import type { ControlPlane, Rejected } from "./control-plane.ts";
import type { Failure } from "./failures.ts";
import type { HttpOrigin } from "./http-origin.ts";
import type { LeaseEnd, LeaseKeeper } from "./lease-keeper.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Orphans } from "./orphans.ts";
import type { WorkDir } from "./work-dir.ts";

/** `exit`: the process ends now. */
export type StopReason = LeaseEnd | "drain" | "give_back" | "exit";

export type RunnerParts = {
  control: ControlPlane;
  keeper: LeaseKeeper;
  bucket: HttpOrigin;
  orphans: Orphans;
  workDir: WorkDir;
  metrics: Metrics;
  log: Log;
  control_url: string;
  token: string;
};

/** The ComfyUI it runs on. */
export type Comfy = { session: ComfySession; folders: ComfyFolders };

/** What makes a ComfyUI unfit for work; only the disk may mend by itself. */
export type Illness = { reason: string; mends: boolean };
export type RunnerHooks = {
  /** Its end came nearer: by an event of ComfyUI. */
  moved(): void;
  /** ComfyUI has nothing more to do for this attempt: the next one may be claimed while the outputs are stored. */
  gpuFree(ranWell: boolean): void;
  /** Names of model files that ComfyUI now holds. */
  loaded(models: string[]): void;
  /** It ran out of memory and runs once more: ComfyUI is told to free its memory, and nothing may come in between. */
  again(): void;
  sick(illness: Illness): void;
  /** The attempt is about to be reported as failed. */
  failed(failure: Failure): void;
  /** Our own disk may be full, or the work directory gone. */
  diskFailed(error: unknown): void;
  rejected(error: Rejected): void;
};
