/**
 * Owns what the main thread and the lease thread say to each other, and the memory they share.
 * Invariant: the deadline of a lease is written by the lease thread alone; the main thread reads it without asking.
 */
import type { RenewRequest } from "../src/protocol/agent-api.ts";

export type ThreadData = {
  control_url: string;
  token: string;
  /** One Int32: the main thread counts it up every second, to show that it lives. */
  life: SharedArrayBuffer;
};

export type ToThread =
  | {
      type: "hold";
      id: number;
      lease: string;
      /** Time of the lease clock before the claim was sent. */
      sent_at: number;
      expires_in_ms: number;
      renew_every_ms: number;
      socket_grace_ms: number;
      /** One Float64: the time of the lease clock at which the agent must have let go. */
      deadline: SharedArrayBuffer;
      report: RenewRequest;
    }
  | { type: "report"; id: number; report: RenewRequest; now: boolean }
  /** The progress socket broke; it was last alive at this time of the lease clock. */
  | { type: "socket_lost"; id: number; alive_at: number }
  | { type: "socket_up"; id: number }
  | { type: "drop"; id: number };

export type FromThread =
  | { type: "answer"; id: number; answer: "cancel" | "lost" | "unauthorized" | "outdated" }
  | { type: "fenced"; id: number }
  | { type: "renewed"; id: number }
  | { type: "retry"; id: number; what: string };
