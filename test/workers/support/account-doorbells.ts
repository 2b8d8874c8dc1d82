/**
 * Owns the job queue of a random life: the real messages the account sent, waiting until the life delivers or loses them.
 * Invariant: what is here was taken by the queue's own `send`; nothing is made up.
 */
import { settingsOf } from "../../../src/platform/env.ts";
import { macsOf } from "../../../src/platform/macs.ts";
import type { AccountId, RefFields } from "../../../src/protocol/ids.ts";
import { bindings } from "./account.ts";

type Send = (body: string, options?: object) => Promise<unknown>;
type SendBatch = (messages: { body: string }[]) => Promise<unknown>;
type QueueMethods = { send: Send; sendBatch: SendBatch };

/** Fields of a doorbell's body; anything else in it would be more than a hint. */
export const DOORBELL_FIELDS = ["ref", "v"];

export class Doorbells {
  readonly waiting: RefFields[] = [];
  /** Bodies with more in them than a doorbell may carry. */
  readonly wrong: string[] = [];
  readonly #account: AccountId;
  readonly #before: QueueMethods;
  // The prototype of the binding: every object of this isolate sends through it.
  readonly #methods = Object.getPrototypeOf(bindings.JOBS_DEFAULT) as QueueMethods;

  constructor(account: AccountId) {
    this.#account = account;
    this.#before = { send: this.#methods.send, sendBatch: this.#methods.sendBatch };
    const { send, sendBatch } = this.#before;
    const take = (body: string) => this.#take(body);
    this.#methods.send = async function (this: QueueMethods, body, options) {
      const answer = await send.call(this, body, options);
      take(body);
      return answer;
    };
    this.#methods.sendBatch = async function (this: QueueMethods, messages) {
      const answer = await sendBatch.call(this, messages);
      for (const { body } of messages) take(body);
      return answer;
    };
  }

  stop(): void {
    Object.assign(this.#methods, this.#before);
  }

  #take(body: string): void {
    const message: unknown = JSON.parse(body);
    if (typeof message !== "object" || message === null || !("ref" in message)) return;
    const ref = typeof message.ref === "string" ? macsOf(settingsOf(bindings)).verifyRef(message.ref) : null;
    if (ref && ref.account !== this.#account) return;
    if (!ref || Object.keys(message).sort().join() !== DOORBELL_FIELDS.join()) this.wrong.push(body);
    else this.waiting.push(ref);
  }
}
