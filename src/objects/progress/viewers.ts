/**
 * Owns the viewers' sockets of one job: who gets which frame, whose key must be asked for again, who is too slow.
 * Invariant: a viewer gets frames in order, none before its snapshot, none after its `done`, and none by a key unchecked for
 * more than 25 s.
 *
 * The runtime does not tell how much of a socket is unread (no `bufferedAmount` there), so slowness is bounded by design:
 * frames are paced per job, and what is sent to a viewer since its last sign of life (its `ping`s, answered by the runtime)
 * is counted; beyond the bound it is closed and comes back to a snapshot.
 */
import { CLOSE } from "../../protocol/close-codes.ts";
import { closeQuietly } from "../sockets.ts";
import { type Access, nameOf } from "./access.ts";
import type { ViewerAttachment } from "./attachment.ts";

const RECHECK_AFTER_MS = 25_000;
const IDLE_AFTER_MS = 300_000;
/** Bytes sent to a viewer that gave no sign of life: 8 MiB are some hours of text frames, or a minute of previews. */
const MAX_UNANSWERED_BYTES = 8_388_608;
/** Frames held for a viewer while its key is asked for. */
const MAX_HELD = 200;

export type Close = { code: number; reason: string };
/** `revision`: this is a `status`, left out for who has seen it. `close`: the socket is closed behind it. */
export type Outgoing = { body: string | Uint8Array; revision?: number; close?: Close };

export type Viewer = {
  readonly socket: WebSocket;
  readonly kept: ViewerAttachment;
  /** False until its snapshot: what is broadcast before is in the snapshot. */
  ready: boolean;
  /** Frames waiting for the answer about its key, null when none is asked. */
  held: Outgoing[] | null;
  /** Bytes sent since `counted_from` (ms UTC), which moves on with its pings. */
  unanswered_bytes: number;
  counted_from: number;
};

export class Viewers {
  readonly #ctx: DurableObjectState;
  readonly #access: Access;
  readonly #open = new Map<WebSocket, Viewer>();

  constructor(ctx: DurableObjectState, access: Access) {
    this.#ctx = ctx;
    this.#access = access;
  }

  withTicket(nonce: string): Viewer[] {
    return [...this.#open.values()].filter(({ kept }) => kept.ticket === nonce);
  }

  /** True when anyone has had its snapshot. */
  isWatched(): boolean {
    for (const { ready } of this.#open.values()) if (ready) return true;
    return false;
  }

  wantsPreviews(): boolean {
    for (const viewer of this.#open.values()) if (viewer.kept.previews && viewer.ready) return true;
    return false;
  }

  /** A socket that has just been accepted, or one that woke with the object. */
  add(socket: WebSocket, kept: ViewerAttachment, ready: boolean): Viewer {
    const viewer: Viewer = { socket, kept, ready, held: null, unanswered_bytes: 0, counted_from: Date.now() };
    this.#open.set(socket, viewer);
    return viewer;
  }

  remove(socket: WebSocket): void {
    this.#open.delete(socket);
  }

  close(viewer: Viewer, { code, reason }: Close): void {
    this.#open.delete(viewer.socket);
    closeQuietly(viewer.socket, code, reason);
  }

  /** Sends to every viewer that has its snapshot; resolves when also those whose key was asked for have been answered. */
  async broadcast(items: readonly Outgoing[], previewsOnly = false): Promise<void> {
    const now = Date.now();
    const stale: Viewer[] = [];
    for (const viewer of this.#open.values()) {
      if (!viewer.ready || (previewsOnly && !viewer.kept.previews)) continue;
      if (viewer.held === null && now - viewer.kept.checked_at > RECHECK_AFTER_MS) {
        viewer.held = [];
        stale.push(viewer);
      }
      this.send(viewer, items);
    }
    if (stale.length > 0) await this.#recheck(stale);
  }

  /** Sends to one viewer, or holds for it while its key is asked for. */
  send(viewer: Viewer, items: readonly Outgoing[]): void {
    if (viewer.held !== null) {
      viewer.held.push(...items);
      if (viewer.held.length > MAX_HELD) this.close(viewer, { code: CLOSE.SLOW, reason: "too slow" });
      return;
    }
    for (const item of items) if (this.#open.has(viewer.socket)) this.#put(viewer, item);
  }

  /** Keeps on every socket what it was told and the last number used, for a start with empty memory. */
  keep(seq: number): void {
    for (const viewer of this.#open.values()) this.keepOne(viewer, seq);
  }

  keepOne({ socket, kept }: Viewer, seq: number): void {
    kept.seq = seq;
    socket.serializeAttachment(kept);
  }

  #put(viewer: Viewer, { body, revision, close }: Outgoing): void {
    if (revision !== undefined && revision <= viewer.kept.revision) return;
    viewer.unanswered_bytes += typeof body === "string" ? body.length : body.byteLength;
    if (viewer.unanswered_bytes > MAX_UNANSWERED_BYTES && !this.#answered(viewer)) {
      this.close(viewer, { code: CLOSE.SLOW, reason: "too slow" });
      return;
    }
    try {
      viewer.socket.send(body);
    } catch {
      // Closing on the other side: its close event follows.
      this.#open.delete(viewer.socket);
      return;
    }
    if (revision !== undefined) viewer.kept.revision = revision;
    if (close) this.close(viewer, close);
  }

  /** True when it pinged since the bytes were last counted from zero: then they are again. */
  #answered(viewer: Viewer): boolean {
    if (this.#lastSign(viewer) <= viewer.counted_from) return false;
    viewer.counted_from = Date.now();
    viewer.unanswered_bytes = 0;
    return true;
  }

  #lastSign({ socket, kept }: Viewer): number {
    return this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? kept.since;
  }

  async #recheck(stale: Viewer[]): Promise<void> {
    const standing = await this.#access.standing(stale.map(({ kept }) => kept.key));
    const now = Date.now();
    for (const viewer of stale) {
      const held = viewer.held ?? [];
      viewer.held = null;
      if (!this.#open.has(viewer.socket)) continue;
      if (standing === null) this.close(viewer, { code: CLOSE.GOING_AWAY, reason: "try again" });
      else if (!standing.has(nameOf(viewer.kept.key)))
        this.close(viewer, { code: CLOSE.REVOKED, reason: "key revoked" });
      else if (now - this.#lastSign(viewer) > IDLE_AFTER_MS) this.close(viewer, { code: CLOSE.IDLE, reason: "idle" });
      else {
        viewer.kept.checked_at = now;
        this.send(viewer, held);
        this.keepOne(viewer, viewer.kept.seq);
      }
    }
  }
}
