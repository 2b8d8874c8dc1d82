/**
 * Owns what the pool is told of this agent: who it is, what it can run, what each of its slots does.
 * Invariant: of a slot only what has changed is told; of what it can run only the hash, and the whole on demand.
 */
import { randomUUID } from "node:crypto";
import { type ControlUp, MAX_RUNS_TOLD, type Ran } from "../src/protocol/agent-api.ts";
import { capabilityHash, commonCapability } from "./comfyui/capability.ts";
import type { ControlLink } from "./control-link.ts";
import type { Slot } from "./slot.ts";

/** As many models as an agent may name as loaded. */
const MAX_LOADED = 100;

export class PoolVoice {
  readonly #name: string;
  readonly #version: string;
  readonly #slots: readonly Slot[];
  readonly #link: ControlLink;
  /** Random per process: a second one with the same token is told apart. */
  readonly #instance = randomUUID();
  /** What the pool was last told of each slot. */
  readonly #told = new Map<number, string>();
  /** Its latest runs that ended well, the oldest first: kept here, since the pool forgets them with the socket. */
  #runs: Ran[] = [];
  #hash = "";

  constructor(name: string, version: string, slots: readonly Slot[], link: ControlLink) {
    this.#name = name;
    this.#version = version;
    this.#slots = slots;
    this.#link = link;
  }

  hello(withCapability: boolean): void {
    const capability = this.#capability();
    this.#hash = capability ? capabilityHash(capability) : "";
    for (const slot of this.#slots) this.#ranIn(slot);
    const loaded_models = [...new Set(this.#slots.flatMap((slot) => slot.loaded))].slice(0, MAX_LOADED);
    const hello: ControlUp = {
      type: "hello",
      agent: this.#name,
      instance: this.#instance,
      version: this.#version,
      slots: this.#slots.map((slot) => ({ slot: slot.number, state: slot.view().state })),
      capability_hash: this.#hash,
      runs: this.#runs,
      ...(withCapability && capability ? { capability: { ...capability, loaded_models } } : {}),
    };
    this.#link.send(hello);
    this.#told.clear();
    for (const slot of this.#slots) this.tell(slot);
  }

  /** Something of it was read anew; the pool hears only of what is different. */
  capabilityChanged(): void {
    const capability = this.#capability();
    if ((capability ? capabilityHash(capability) : "") !== this.#hash) this.hello(false);
  }

  /** False when there is nothing new to tell. */
  tell(slot: Slot): boolean {
    const { state, reason, ahead } = slot.view();
    const { ref, nextRef: next, loaded } = slot;
    const known = JSON.stringify([state, ref, next, ahead, reason, loaded]);
    const { error } = slot;
    if (this.#told.get(slot.number) === known && error === null) return false;
    slot.error = null;
    this.#told.set(slot.number, known);
    const ran = this.#ranIn(slot);
    const message: ControlUp = { type: "slot", slot: slot.number, state };
    this.#link.send({
      ...message,
      ...(ref === null ? {} : { ref }),
      ...(next === null ? {} : { next }),
      ...(ahead ? { ahead } : {}),
      ...(ran === null ? {} : { ran }),
      ...(error === null ? {} : { error }),
      ...(loaded.length === 0 ? {} : { loaded }),
      ...(reason === null ? {} : { reason: reason.slice(0, 256) }),
    });
    return true;
  }

  /** What it ran since it was asked last. */
  #ranIn(slot: Slot): Ran | null {
    const { ran } = slot;
    slot.ran = null;
    if (ran !== null) this.#runs = [...this.#runs, ran].slice(-MAX_RUNS_TOLD);
    return ran;
  }

  #capability() {
    const all = this.#slots.flatMap(({ session }) =>
      session.state.kind === "ready" ? [session.state.info.capability] : [],
    );
    return commonCapability(all);
  }
}
