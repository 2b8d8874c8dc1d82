/**
 * What the lease thread asks of the control plane, and when it lets go, seen by a control plane that answers nothing else.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, it, vi } from "vitest";
import { leaseClockMs } from "../../../gpu-agent/clock.ts";
import { type LeaseEnd, LeaseKeeper } from "../../../gpu-agent/lease-keeper.ts";

const REPORT = { phase: "executing", progress: 0.5, progress_detail: null } as const;
const TERMS = { lease: "l", expires_in_ms: 4_000, renew_every_ms: 5_000, socket_grace_ms: 1_200 };

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A lease kept beside a control plane that answers each renewal with what `answer` says: null is a 503, a number a status. */
async function kept(answer: (body: string) => object | number | null) {
  const renewals: number[] = [];
  const server = createServer((request, response) => {
    void text(request).then((asked) => {
      renewals.push(leaseClockMs());
      const body = answer(asked);
      response
        .writeHead(typeof body === "number" ? body : body ? 200 : 503, { "content-type": "application/json" })
        .end(JSON.stringify(body ?? {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as AddressInfo;
  const none = () => undefined;
  const keeper = new LeaseKeeper(`http://127.0.0.1:${port}`, "token", {
    renewed: none,
    retried: none,
    threadFailed: none,
  });
  closing.push(async () => {
    await keeper.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const ends: { end: LeaseEnd; at: number }[] = [];
  const lease = keeper.hold({ ...TERMS, sent_at: leaseClockMs() }, REPORT, (end) => {
    ends.push({ end, at: leaseClockMs() });
  });
  // The thread takes its time to start.
  lease.report(REPORT, true);
  await vi.waitFor(() => expect(renewals.length).toBeGreaterThan(0), 10_000);
  return { lease, renewals, ends };
}

it("I22: after its fence no renewal of a lease is sent, though one was due later when its socket broke", async () => {
  let down = false;
  const { lease, renewals, ends } = await kept(() =>
    down ? null : { answer: "continue", lease_expires_in_ms: 4_000 },
  );
  down = true;
  // The fence falls long before the renewal that was due anyway; what the loss asked for at once fails, again and again.
  lease.socketLost(leaseClockMs());
  await vi.waitFor(() => expect(ends).toMatchObject([{ end: "fenced" }]), 10_000);
  await new Promise((resolve) => setTimeout(resolve, 900));
  // One that was on its way at the fence may still arrive.
  const fencedAt = ends[0]?.at ?? 0;
  expect(renewals.filter((at) => at > fencedAt + 75)).toEqual([]);
  expect(renewals.length).toBeGreaterThan(0);
});

it("A progress socket that cannot be had again costs no lease that is renewed meanwhile", async () => {
  const { lease, renewals, ends } = await kept(() => ({ answer: "continue", lease_expires_in_ms: 4_000 }));
  const lastAlive = leaseClockMs();
  // Each failed try to connect is told as a loss, with the same last sign of life.
  while (leaseClockMs() - lastAlive < 2 * TERMS.socket_grace_ms) {
    lease.socketLost(lastAlive);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(ends).toEqual([]);
  expect(lease.isAlive()).toBe(true);
  expect(renewals.length).toBeGreaterThan(2);
});

it("A report that the control plane does not take costs no lease: the next renewal says less", async () => {
  const good = { answer: "continue", lease_expires_in_ms: 4_000 };
  let taken = 0;
  let refused = 0;
  const { lease, ends } = await kept((body) => {
    if (body.includes("a node")) refused++;
    else taken++;
    return body.includes("a node") ? 400 : good;
  });
  const before = taken;
  const detail = { phase: "executing", current_node: "a node", current_node_type: null } as const;
  const rest = { current_step: null, total_steps: null, nodes_done: null, nodes_total: null, message: null };
  lease.report({ ...REPORT, progress_detail: { ...detail, ...rest } }, true);
  await vi.waitFor(() => expect(taken).toBeGreaterThan(before), 10_000);
  expect([refused, ends]).toEqual([1, []]);
});
