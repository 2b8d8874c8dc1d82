/**
 * Owns what a viewer is told at the end of a job: its artifacts with fresh links, then `done`.
 * Invariant: made only for a record in a terminal state, so that no artifact is named before its manifest was committed.
 */
import type { Settings } from "../../platform/env.ts";
import { renderJobView } from "../../platform/job-view.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { ViewerFrame } from "../../protocol/progress.ts";

export async function endFrames(settings: Settings, record: JobRecord): Promise<ViewerFrame[]> {
  const { status, result, error } = await renderJobView(settings, record);
  const artifacts = (result?.artifacts ?? []).map((artifact): ViewerFrame => ({ type: "artifact", artifact }));
  return [...artifacts, { type: "done", status, result, error }];
}
