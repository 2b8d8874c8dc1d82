/**
 * Owns the only reasons for which a test may be skipped. A skipped test names one of them.
 */
export const SKIP_REASONS = {
  noRecordings: "the recordings of a real ComfyUI are not beside this checkout (../shared/recordings)",
} as const;
