/**
 * Holds `http/job-tag` to its promise: a 304 never hides a change, and never leaves anyone with a dead link.
 */
import { describe, expect, it } from "vitest";
import { jobTag, matchesTag } from "../../../src/http/job-tag.ts";
import { accountIdSchema, jobIdSchema } from "../../../src/protocol/ids.ts";
import type { JobRecord } from "../../../src/protocol/job.ts";

const record: JobRecord = {
  account: accountIdSchema.parse("u000000000000000"),
  job: jobIdSchema.parse("j_0123456789ab"),
  status: "running",
  revision: 2,
  progress: 0.25,
  progress_detail: null,
  waiting: null,
  source: "parameters",
  params_text: "{}",
  template: null,
  workflow_hash: "",
  pool: "default",
  priority: 0,
  user_id: null,
  submitted_by: "k0000000",
  metadata: {},
  artifacts: [],
  error: null,
  queued_at: 0,
  started_at: 0,
  finished_at: null,
  expires_at: null,
  attempt: 1,
  max_attempts: 3,
  cancel_requested: false,
  receipt: null,
  logs: [],
  url_ttl_s: 3600,
};
const done: JobRecord = { ...record, status: "succeeded", revision: 3, progress: 1 };
const HALF_LIFE_MS = 1_800_000;

describe("jobTag", () => {
  it("changes with progress, with the revision, and with nothing else of a running job", () => {
    expect(jobTag({ ...record, progress: 0.3 }, 0)).not.toBe(jobTag(record, 0));
    expect(jobTag({ ...record, revision: 3 }, 0)).not.toBe(jobTag(record, 0));
    expect(jobTag(record, 10 * HALF_LIFE_MS)).toBe(jobTag(record, 0));
  });

  it("changes each half life of the links of a finished job", () => {
    expect(jobTag(done, HALF_LIFE_MS - 1)).toBe(jobTag(done, 0));
    expect(jobTag(done, HALF_LIFE_MS)).not.toBe(jobTag(done, 0));
  });

  it("matches weakly, in a list, and by *", () => {
    const tag = jobTag(done, 0);
    expect(matchesTag(tag, tag)).toBe(true);
    expect(matchesTag(tag.slice(2), tag)).toBe(true);
    expect(matchesTag(`"x", ${tag}`, tag)).toBe(true);
    expect(matchesTag("*", tag)).toBe(true);
    expect(matchesTag('W/"3-1"', tag)).toBe(false);
    expect(matchesTag(undefined, tag)).toBe(false);
  });
});
