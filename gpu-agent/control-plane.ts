/**
 * Owns the agent's HTTP calls to the control plane (CONTRACT 2): one method a route, parsed answers, repeats by class.
 * Invariant: every call may be repeated without harm; an expected "no" is a value, and 401 or 426 ends the agent's work.
 */
import { randomBytes } from "node:crypto";
import type { z } from "zod";
import {
  type ackRequestSchema,
  type ClaimGrantBody,
  type ClaimRefusal,
  type CompleteRequest,
  claimGrantSchema,
  claimRefusalBodySchema,
  type FailRequest,
  type FinishAnswer,
  finishAnswerSchema,
  HEADER_LEASE,
  HEADER_PROTOCOL,
  type PulledMessage,
  pullAnswerSchema,
  type ReleaseRequest,
  type StoppedRequest,
  type UploadsAnswer,
  type UploadsRequest,
  uploadsAnswerSchema,
} from "../src/protocol/agent-api.ts";
import { ok, type Result, refuse } from "../src/protocol/result.ts";
import { AGENT_PROTOCOL } from "../src/protocol/version.ts";
import { leaseClockMs } from "./clock.ts";
import { type Answer, HttpOrigin } from "./http-origin.ts";
import { type RetryPlan, retrying, TryAgain } from "./retry.ts";

/** The control plane will not work with this agent: token revoked (401, 403), protocol too old or new (426). */
export class Rejected extends Error {
  readonly status: number;
  constructor(status: number) {
    super(
      status === 426
        ? "the control plane does not speak this agent's protocol: update the agent"
        : "the token was refused",
    );
    this.name = "Rejected";
    this.status = status;
  }
}

/** An answer of the control plane that fits no shape of the contract: not repeated. */
export class BadAnswer extends Error {
  constructor(route: string, status: number) {
    super(`unusable answer to ${route} (status ${status})`);
    this.name = "BadAnswer";
  }
}

export type Grant = ClaimGrantBody & {
  /** Time of the lease clock before the claim was first sent. */
  sent_at: number;
  /** More than one claim was sent: the lease may be half used. */
  repeated: boolean;
};
export type LeaseLost = "lease_lost";
export type Claimed = Result<Grant, ClaimRefusal>;

/** A doorbell that nobody here had a slot for; the job itself is on the pool's list meanwhile. */
const RETRY_DELAY_S = 15;

const CLAIM_PLAN: RetryPlan = { attempts: 5, first_ms: 100, max_ms: 2_000 };
const LEASE_PLAN: RetryPlan = { attempts: 30, first_ms: 100, max_ms: 3_000 };
const QUEUE_PLAN: RetryPlan = { attempts: 3, first_ms: 200, max_ms: 2_000 };

export class ControlPlane {
  readonly #http: HttpOrigin;

  constructor(controlUrl: string, token: string) {
    this.#http = new HttpOrigin(
      controlUrl,
      {
        authorization: `Bearer ${token}`,
        [HEADER_PROTOCOL]: String(AGENT_PROTOCOL),
        "content-type": "application/json",
      },
      32,
    );
  }

  /** Opens a connection ahead of the first claim. */
  async warm(): Promise<void> {
    await this.#http.call("GET", "ping", { timeout_ms: 5_000 }).catch(() => {});
  }

  /** Throws CallFailed or TryAgain when no answer could be had, Rejected when the agent itself is refused. */
  async claim(ref: string, slot: number, ahead: boolean, signal: AbortSignal): Promise<Claimed> {
    const body = { ref, claim_id: randomBytes(16).toString("hex"), slot, ahead };
    const sent_at = leaseClockMs();
    let sent = 0;
    const answer = await retrying(() => this.#post("claims", body, { n: ++sent, signal }), CLAIM_PLAN, signal);
    if (answer.status === 409) return refuse(parsed(claimRefusalBodySchema, answer, "claims").refusal);
    return ok({ ...parsed(claimGrantSchema, answer, "claims"), sent_at, repeated: sent > 1 });
  }

  async uploads(
    lease: string,
    request: UploadsRequest,
    signal: AbortSignal,
  ): Promise<Result<UploadsAnswer, LeaseLost>> {
    const answer = await this.#leaseCall("uploads", lease, request, signal);
    return answer ? ok(parsed(uploadsAnswerSchema, answer, "uploads")) : refuse("lease_lost");
  }

  complete(lease: string, request: CompleteRequest, signal: AbortSignal) {
    return this.#finish("complete", lease, request, signal);
  }
  fail(lease: string, request: FailRequest, signal: AbortSignal) {
    return this.#finish("fail", lease, request, signal);
  }
  release(lease: string, request: ReleaseRequest, signal: AbortSignal) {
    return this.#finish("release", lease, request, signal);
  }
  stopped(lease: string, request: StoppedRequest, signal: AbortSignal) {
    return this.#finish("stopped", lease, request, signal);
  }

  async pull(batch: number, signal: AbortSignal): Promise<PulledMessage[]> {
    const answer = await this.#post("queue/pull", { batch_size: batch }, { signal });
    // A paused queue.
    if (answer.status === 409) return [];
    const { result } = parsed(pullAnswerSchema, answer, "queue/pull");
    return Array.isArray(result) ? result : result.messages;
  }

  /** `retries` show again after a while, for whoever is free then. */
  async acknowledge(acks: string[], retries: string[], signal: AbortSignal): Promise<void> {
    const body: z.input<typeof ackRequestSchema> = {
      acks: acks.map((lease_id) => ({ lease_id })),
      retries: retries.map((lease_id) => ({ lease_id, delay_seconds: RETRY_DELAY_S })),
    };
    await retrying(() => this.#post("queue/ack", body, { signal }), QUEUE_PLAN, signal);
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #finish(
    verb: string,
    lease: string,
    request: object,
    signal: AbortSignal,
  ): Promise<Result<FinishAnswer, LeaseLost>> {
    const answer = await this.#leaseCall(verb, lease, request, signal);
    return answer ? ok(parsed(finishAnswerSchema, answer, verb)) : refuse("lease_lost");
  }

  /** Null: the lease is lost. Repeated until the signal, which falls with the lease. */
  async #leaseCall(verb: string, lease: string, request: object, signal: AbortSignal): Promise<Answer | null> {
    const once = () => this.#post(`leases/${verb}`, request, { lease, signal });
    const answer = await retrying(once, LEASE_PLAN, signal);
    return answer.status === 409 ? null : answer;
  }

  /** 200 and 409 come back; 429 and 5xx throw TryAgain; 401, 403 and 426 throw Rejected; anything else is a bug. */
  async #post(
    route: string,
    body: object,
    options: { lease?: string; n?: number; signal: AbortSignal },
  ): Promise<Answer> {
    const answer = await this.#http.call("POST", `agent/v1/${route}`, {
      body: JSON.stringify(body),
      signal: options.signal,
      timeout_ms: 10_000,
      ...(options.lease === undefined ? {} : { headers: { [HEADER_LEASE]: options.lease } }),
    });
    const { status } = answer;
    if (status === 200 || status === 409) return answer;
    if (status === 429 || status >= 500) throw new TryAgain(status, route);
    if (status === 401 || status === 403 || status === 426) throw new Rejected(status);
    throw new BadAnswer(route, status);
  }
}

function parsed<S extends z.ZodType>(schema: S, answer: Answer, route: string): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(answer.text);
  } catch {
    throw new BadAnswer(route, answer.status);
  }
  const result = schema.safeParse(json);
  if (!result.success) throw new BadAnswer(route, answer.status);
  return result.data;
}
