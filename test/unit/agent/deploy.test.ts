/**
 * A deploy ends the sockets of a whole fleet at one moment: the agents come back one by one, and none loses its lease meanwhile.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { leaseClockMs } from "../../../gpu-agent/clock.ts";
import { ControlLink, reconnectPauseMs } from "../../../gpu-agent/control-link.ts";
import { LeaseKeeper } from "../../../gpu-agent/lease-keeper.ts";
import { LONGEST_SPREAD_MS, reconnectWithinMs } from "../../../src/domain/reconnects.ts";
import { FakeControlPlane } from "../../support/agent/fake-control-plane.ts";

const AGENTS = 500;
/** A fixed sequence that looks like chance. */
function chance(): () => number {
  let state = 11;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

describe("a deploy", () => {
  it("brings 500 agents back over 30 s, hardly more in one second than in another, and a few agents at once", () => {
    const random = chance();
    const within = reconnectWithinMs(AGENTS) ?? 0;
    expect(within).toBe(LONGEST_SPREAD_MS);
    const back = Array.from({ length: AGENTS }, () => reconnectPauseMs(250 + 500 * random(), within, random()));
    const perSecond = Array.from({ length: 30 }, (_, s) => back.filter((at) => Math.floor(at / 1_000) === s).length);
    expect(Math.max(...back)).toBeLessThan(LONGEST_SPREAD_MS);
    expect(Math.max(...perSecond)).toBeLessThanOrEqual(2.5 * (AGENTS / 30));
    expect(Math.min(...perSecond)).toBeGreaterThan(0);
    expect(reconnectWithinMs(16)).toBeNull();
  });

  it("is waited out by each agent as its pool asked it to", async () => {
    const plane = await FakeControlPlane.start();
    const random = vi.spyOn(Math, "random").mockReturnValue(0.02);
    const opened: number[] = [];
    const link = new ControlLink(plane.url, "token", {
      opened: () => opened.push(performance.now()),
      closed: () => {},
      message: () => {},
      rejected: () => {},
    });
    link.start();
    await vi.waitFor(() => expect([opened.length, plane.control.size]).toEqual([1, 1]));
    plane.tell({ type: "reconnect", within_ms: 60_000 });
    const closedAt = performance.now();
    for (const socket of plane.control) socket.close(1012);
    await vi.waitFor(() => expect(opened.length).toBe(2), { timeout: 10_000 });
    // Left to itself it comes back within three quarters of a second.
    expect((opened[1] ?? 0) - closedAt).toBeGreaterThan(1_100);
    random.mockRestore();
    link.stop();
    await plane.close();
  });

  it("loses none of 500 leases whose progress sockets all end at once, though nobody answers for a second", async () => {
    const renewed = new Set<string>();
    const openAt = leaseClockMs() + 1_000;
    const server = createServer((request, response) => {
      request.resume().on("end", () => {
        if (leaseClockMs() < openAt) return void response.writeHead(503).end();
        renewed.add(String(request.headers["x-lease"]));
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify({ answer: "continue", lease_expires_in_ms: 60_000 }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const keeper = new LeaseKeeper(url, "token", { renewed: () => {}, retried: () => {}, threadFailed: () => {} });
    const ends: string[] = [];
    const terms = { sent_at: leaseClockMs(), expires_in_ms: 60_000, renew_every_ms: 20_000, socket_grace_ms: 9_000 };
    const report = { phase: "executing" as const, progress: 0.5, progress_detail: null };
    const leases = Array.from({ length: AGENTS }, (_, n) =>
      keeper.hold({ ...terms, lease: `lease-${n}` }, report, (end) => ends.push(end)),
    );
    for (const lease of leases) lease.socketLost(leaseClockMs());
    await vi.waitFor(() => expect(renewed.size).toBe(AGENTS), { timeout: 20_000, interval: 50 });
    expect([ends, leases.filter((lease) => !lease.isAlive()).length]).toEqual([[], 0]);
    await keeper.close();
    server.closeAllConnections();
    server.close();
  });
});
