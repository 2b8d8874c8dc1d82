/**
 * Owns the only reasons for which a test may be skipped. A skipped test names one of them.
 */
export const SKIP_REASONS = {
  noRecordings: "the recordings of a real ComfyUI are not beside this checkout (../shared/recordings)",
  noBrowser: "no Chromium or Chrome is installed (looked in /usr/bin, and at CHROME_PATH)",
  long: "takes longer than `npm test` may: it runs in `npm run test:long`",
} as const;
