/**
 * Owns what a command asks the control plane about this agent, with the agent's own token.
 * Invariant: every call is safe to repeat and is repeated a few times; a refusal is told as what it is and never repeated.
 */
import type { z } from "zod";
import { HEADER_PROTOCOL } from "../../src/protocol/agent-api.ts";
import {
  type AgentSelf,
  type EnrolAnswer,
  enrolAnswerSchema,
  selfSchema,
  testUploadAnswerSchema,
} from "../../src/protocol/agent-self.ts";
import { AGENT_PROTOCOL } from "../../src/protocol/version.ts";
import { BadAnswer, Rejected } from "../control-plane.ts";
import { type Answer, HttpOrigin } from "../http-origin.ts";
import { jsonOrNull } from "../json.ts";
import { type RetryPlan, retrying, TryAgain } from "../retry.ts";

const PLAN: RetryPlan = { attempts: 4, first_ms: 200, max_ms: 2_000 };
const TIMEOUT_MS = 10_000;

export class ControlSelf {
  readonly #http: HttpOrigin;

  constructor(controlUrl: string, token: string | null) {
    const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    this.#http = new HttpOrigin(controlUrl, {
      ...authorization,
      [HEADER_PROTOCOL]: String(AGENT_PROTOCOL),
      "content-type": "application/json",
    });
  }

  /** Null: the code is wrong, used or too old. */
  async enrol(code: string, enrol_id: string): Promise<EnrolAnswer | null> {
    try {
      return await this.#ask("POST", "enrol", enrolAnswerSchema, { code, enrol_id });
    } catch (error) {
      if (error instanceof Rejected && error.status === 401) return null;
      // A control plane never says so: what stands before it does.
      if (error instanceof Rejected && error.status === 403) throw new BadAnswer("enrol", error.status);
      throw error;
    }
  }

  read(): Promise<AgentSelf> {
    return this.#ask("GET", "self", selfSchema);
  }
  /** @param until RFC 3339; null: until resumed. */
  pause(until: string | null): Promise<AgentSelf> {
    return this.#ask("POST", "self/pause", selfSchema, { until });
  }
  drain(): Promise<AgentSelf> {
    return this.#ask("POST", "self/drain", selfSchema, {});
  }
  resume(): Promise<AgentSelf> {
    return this.#ask("POST", "self/resume", selfSchema, {});
  }
  testUpload(size_bytes: number, md5: string) {
    return this.#ask("POST", "self/test-upload", testUploadAnswerSchema, { size_bytes, md5 });
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** Throws CallFailed or TryAgain where no answer could be had, Rejected where the agent is refused. */
  async #ask<S extends z.ZodType>(
    method: "GET" | "POST",
    route: string,
    schema: S,
    body?: object,
  ): Promise<z.output<S>> {
    const answer = await retrying(() => this.#once(method, route, body), PLAN);
    const parsed = schema.safeParse(jsonOrNull(answer.text));
    if (!parsed.success) throw new BadAnswer(route, answer.status);
    return parsed.data;
  }

  async #once(method: "GET" | "POST", route: string, body?: object): Promise<Answer> {
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await this.#http.call(method, `agent/v1/${route}`, { ...text, timeout_ms: TIMEOUT_MS });
    const { status } = answer;
    if (status === 200) return answer;
    if (status === 429 || status >= 500) throw new TryAgain(status, route);
    if (status === 401 || status === 403 || status === 426) throw new Rejected(status);
    throw new BadAnswer(route, status);
  }
}
