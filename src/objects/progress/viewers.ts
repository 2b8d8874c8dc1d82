/**
 * Owns the viewers' sockets of one job: who gets which frame, whose key must be asked for again, who is too slow.
 * Invariant: a viewer gets frames in order, none before its snapshot, none after its `done`, and none by a key unchecked for
 * more than 25 s.
 *
 * The runtime does not tell how much of a socket is unread (no `bufferedAmount` there), so slowness is bounded by design:
 * frames are paced per job, and what is sent to a viewer since its last sign of life (its `ping`s, answered by the runtime)
 * is counted. Beyond a first bound it is spared what later frames outdate; beyond a second, or when no sign comes for a while,
 * it is closed with 1013 and comes back to a snapshot.
 */
import { CLOSE } from "../../protocol/close-codes.ts";
import { closeQuietly } from "../sockets.ts";
import { type Access, nameOf } from "./access.ts";
import { attachmentOf, type ViewerAttachment } from "./attachment.ts";

const RECHECK_AFTER_MS = 25_000;
/** From here on a key is asked for while frames still go out, so that on a busy job none ever waits for the answer. */
const REFRESH_AFTER_MS = 20_000;
const REFRESH_EVERY_MS = 2_000;
const IDLE_AFTER_MS = 300_000;
/** Bytes sent to a viewer that gave no sign of life: 4 MiB are some hours of text frames, or half a minute of previews. */
const SPARED_FROM_BYTES = 4_194_304;
const MAX_UNANSWERED_BYTES = 8_388_608;
/** A viewer is spared for so long at most: those who live send a ping each 30 s. */
const SPARED_FOR_MS = 45_000;
/** Frames held for a viewer while its key is asked for. */
const MAX_HELD = 200;

type Close = { code: number; reason: string };
/**
 * `revision`: this is a `status`, left out for who has seen it. `passing`: a later frame says the same or more, so a viewer that
 * is behind is spared it. `close`: the socket is closed behind it.
 */
export type Outgoing = { body: string | Uint8Array; revision?: number; passing?: boolean; close?: Close };

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
  /** Since when it is spared (ms UTC); null while it keeps up. */
  spared_since: number | null;
};

export class Viewers {
  readonly #ctx: DurableObjectState;
  readonly #access: Access;
  readonly #open = new Map<WebSocket, Viewer>();
  #refreshedAt = 0;

  constructor(ctx: DurableObjectState, access: Access) {
    this.#ctx = ctx;
    this.#access = access;
  }

  withTicket(nonce: string): Viewer[] {
    return [...this.#open.values()].filter(({ kept }) => kept.ticket === nonce);
  }

  get count(): number {
    return this.#open.size;
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
    const count = { unanswered_bytes: 0, counted_from: Date.now(), spared_since: null };
    const viewer: Viewer = { socket, kept, ready, held: null, ...count };
    this.#open.set(socket, viewer);
    return viewer;
  }

  open(): Iterable<Viewer> {
    return this.#open.values();
  }

  /** A socket has gone, perhaps while the object slept. What it carried; null when it was no viewer's. */
  remove(socket: WebSocket): ViewerAttachment | null {
    const kept = this.#open.get(socket)?.kept ?? attachmentOf(socket);
    this.#open.delete(socket);
    return kept?.role === "viewer" ? kept : null;
  }

  close(viewer: Viewer, { code, reason }: Close): void {
    this.#open.delete(viewer.socket);
    closeQuietly(viewer.socket, code, reason);
  }

  /** Sends to every viewer that has its snapshot; resolves when also those whose key was asked for have been answered. */
  async broadcast(items: readonly Outgoing[], previewsOnly = false): Promise<void> {
    const now = Date.now();
    const stale: Viewer[] = [];
    const aging: Viewer[] = [];
    for (const viewer of this.#open.values()) {
      if (!viewer.ready || (previewsOnly && !viewer.kept.previews)) continue;
      const age = viewer.held === null ? now - viewer.kept.checked_at : 0;
      if (age > RECHECK_AFTER_MS) {
        viewer.held = [];
        stale.push(viewer);
      } else if (age > REFRESH_AFTER_MS) aging.push(viewer);
      this.send(viewer, items);
    }
    if (aging.length > 0 && now - this.#refreshedAt > REFRESH_EVERY_MS) {
      this.#refreshedAt = now;
      this.#ctx.waitUntil(this.#recheck(aging));
    }
    if (stale.length > 0) await this.#recheck(stale);
  }

  /** Asks for every viewer's key now, whether or not there is anything to send. */
  async recheckAll(): Promise<void> {
    const all = [...this.#open.values()].filter(({ ready, held }) => ready && held === null);
    for (const viewer of all) viewer.held = [];
    if (all.length > 0) await this.#recheck(all);
  }

  /** Sends to one viewer, or holds for it while its key is asked for. */
  send(viewer: Viewer, items: readonly Outgoing[]): void {
    if (viewer.held !== null) {
      // Of pictures on the way the last is enough: two hundred would be more than an object may hold.
      if (items.some(isPicture)) viewer.held = viewer.held.filter((held) => !isPicture(held));
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

  #put(viewer: Viewer, { body, revision, passing, close }: Outgoing): void {
    if (revision !== undefined && revision <= viewer.kept.revision) return;
    const bytes = typeof body === "string" ? body.length : body.byteLength;
    const pace = this.#paceOf(viewer, bytes);
    if (pace === "close") {
      this.close(viewer, { code: CLOSE.SLOW, reason: "too slow" });
      return;
    }
    if (pace === "spare" && passing) return;
    viewer.unanswered_bytes += bytes;
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

  /** Whether a viewer can take this much more. */
  #paceOf(viewer: Viewer, bytes: number): "send" | "spare" | "close" {
    if (viewer.unanswered_bytes + bytes <= SPARED_FROM_BYTES || this.#answered(viewer)) return "send";
    const now = Date.now();
    viewer.spared_since ??= now;
    const isOver = viewer.unanswered_bytes + bytes > MAX_UNANSWERED_BYTES || now - viewer.spared_since > SPARED_FOR_MS;
    return isOver ? "close" : "spare";
  }

  /** True when it pinged since the bytes were last counted from zero: then they are again. */
  #answered(viewer: Viewer): boolean {
    if (this.#lastSign(viewer) <= viewer.counted_from) return false;
    viewer.counted_from = Date.now();
    viewer.unanswered_bytes = 0;
    viewer.spared_since = null;
    return true;
  }

  #lastSign({ socket, kept }: Viewer): number {
    return this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? kept.since;
  }

  /** Those who wait for the answer get what was held for them, or are closed; the others are closed or stay as they are. */
  async #recheck(asked: Viewer[]): Promise<void> {
    const standing = await this.#access.standing(asked.map(({ kept }) => kept.key));
    const now = Date.now();
    for (const viewer of asked) {
      const { held } = viewer;
      viewer.held = null;
      if (!this.#open.has(viewer.socket)) continue;
      if (standing === null) {
        if (held !== null) this.close(viewer, { code: CLOSE.GOING_AWAY, reason: "try again" });
      } else if (standing.has(nameOf(viewer.kept.key))) {
        viewer.kept.checked_at = now;
        this.send(viewer, held ?? []);
        this.#keepOrDrop(viewer, now, held !== null);
      } else this.close(viewer, { code: CLOSE.REVOKED, reason: "key revoked" });
    }
  }

  /** One without a sign of life still got what was for it, then it is closed. */
  #keepOrDrop(viewer: Viewer, now: number, keep: boolean): void {
    if (!this.#open.has(viewer.socket)) return;
    if (now - this.#lastSign(viewer) > IDLE_AFTER_MS) this.close(viewer, { code: CLOSE.IDLE, reason: "idle" });
    else if (keep) this.keepOne(viewer, viewer.kept.seq);
  }
}

function isPicture({ body }: Outgoing): boolean {
  return typeof body !== "string";
}
