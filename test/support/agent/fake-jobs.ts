/**
 * Owns the jobs of the fake control plane: attempts, leases and what agents reported about them.
 * Invariant: a claim is a compare-and-set and a lease that is not the present one changes nothing, as in the real one.
 */
import { randomBytes } from "node:crypto";
import type {
  ClaimGrantBody,
  ClaimRefusal,
  CompleteRequest,
  FailRequest,
  ReleaseRequest,
  RenewRequest,
  StoppedRequest,
} from "../../../src/protocol/agent-api.ts";
import { accountIdSchema, jobIdFrom, poolNameSchema, refBody } from "../../../src/protocol/ids.ts";
import type { JobState } from "../../../src/protocol/states.ts";

export type Timing = { lease_ms: number; first_lease_ms: number; renew_ms: number; grace_ms: number };

export type FakeJob = {
  job: string;
  workflow: string;
  shape: string;
  status: JobState;
  attempt: number;
  lease: string | null;
  /** The lease that ended it last, and as what. */
  ended: { lease: string; status: JobState } | null;
  claim_id: string | null;
  lease_until: number;
  canceling: boolean;
  inputs: ClaimGrantBody["inputs"];
  keep_metadata: boolean;
  max_bytes: number;
  run_ms: number;
  no_progress_ms: number;
  renewals: { at: number; request: RenewRequest }[];
  completed: CompleteRequest | null;
  failed: FailRequest[];
  released: ReleaseRequest[];
  stopped: StoppedRequest[];
};

const ACCOUNT = accountIdSchema.parse("u000000000000001");
const POOL = poolNameSchema.parse("default");
const MAC = "0".repeat(27);

export class FakeJobs {
  readonly all = new Map<string, FakeJob>();
  readonly #timing: Timing;
  readonly #base: string;
  #count = 0;

  constructor(timing: Timing, base: string) {
    this.#timing = timing;
    this.#base = base;
  }

  add(
    workflow: object | string,
    options: Partial<
      Pick<FakeJob, "shape" | "inputs" | "keep_metadata" | "max_bytes" | "run_ms" | "no_progress_ms">
    > = {},
  ) {
    const job: FakeJob = {
      job: jobIdFrom(Date.now(), ++this.#count),
      workflow: typeof workflow === "string" ? workflow : JSON.stringify(workflow),
      shape: "0123456789abcdef",
      status: "queued",
      attempt: 0,
      lease: null,
      ended: null,
      claim_id: null,
      lease_until: 0,
      canceling: false,
      inputs: [],
      keep_metadata: false,
      max_bytes: 300 * 2 ** 20,
      run_ms: 60_000,
      no_progress_ms: 60_000,
      renewals: [],
      completed: null,
      failed: [],
      released: [],
      stopped: [],
      ...options,
    };
    this.all.set(job.job, job);
    return job;
  }

  refOf(job: FakeJob): string {
    const fields = { account: ACCOUNT, job: jobId(job.job), attempt: job.attempt + 1, pool: POOL };
    return `${refBody(fields)}_${MAC}`;
  }

  claim(ref: string, claim_id: string): ClaimGrantBody | ClaimRefusal {
    const [, , hex, attempt] = ref.split("_");
    const job = this.all.get(`j_${hex}`);
    if (!job) return "gone";
    if (job.claim_id === claim_id) return this.#grant(job);
    if (job.status === "running") return "already_claimed";
    if (job.status !== "queued" || Number(attempt) !== job.attempt + 1) return "gone";
    job.attempt++;
    job.status = "running";
    job.claim_id = claim_id;
    job.lease = `l_${ACCOUNT}_${hex}_${job.attempt}_${randomBytes(10).toString("hex")}_${MAC}`;
    job.lease_until = Date.now() + this.#timing.first_lease_ms;
    return this.#grant(job);
  }

  #grant(job: FakeJob): ClaimGrantBody {
    return {
      lease: job.lease ?? "",
      lease_expires_in_ms: this.#timing.first_lease_ms,
      renew_every_ms: this.#timing.renew_ms,
      socket_grace_ms: this.#timing.grace_ms,
      account: ACCOUNT,
      job: job.job,
      attempt: job.attempt,
      workflow: job.workflow,
      workflow_hash: "0",
      shape: job.shape,
      inputs: job.inputs,
      output: { max_files: 100, max_bytes: job.max_bytes, keep_metadata: job.keep_metadata },
      limits: { run_ms: job.run_ms, no_progress_ms: job.no_progress_ms },
      progress_url: `${this.#base}/agent/v1/leases/progress`,
      traceparent: null,
    };
  }

  /** As the account's sweep does with a lease that ran out: queued again for the next attempt. */
  expire(job: FakeJob): void {
    job.status = "queued";
    job.lease = null;
  }

  /** The job whose present lease this is. */
  held(lease: string): FakeJob | null {
    const job = [...this.all.values()].find((one) => one.lease === lease);
    return job && job.lease_until > Date.now() ? job : null;
  }

  /** What the same report under the same lease was answered before; null: it ended nothing. */
  endedBy(lease: string): JobState | null {
    return [...this.all.values()].find(({ ended }) => ended?.lease === lease)?.ended?.status ?? null;
  }

  renew(job: FakeJob, request: RenewRequest) {
    job.renewals.push({ at: Date.now(), request });
    job.lease_until = Date.now() + this.#timing.lease_ms;
    return {
      answer: job.canceling ? ("cancel" as const) : ("continue" as const),
      lease_expires_in_ms: this.#timing.lease_ms,
    };
  }

  end(job: FakeJob, status: JobState): JobState {
    job.status = job.canceling ? "canceled" : status;
    if (job.lease !== null) job.ended = { lease: job.lease, status: job.status };
    job.lease = null;
    return job.status;
  }
}

function jobId(text: string) {
  return jobIdFrom(Number.parseInt(text.slice(2, 10), 16) * 1000, Number.parseInt(text.slice(10), 16));
}
