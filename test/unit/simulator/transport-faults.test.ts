/**
 * Every knob between the simulator and its clients: submits, history, routes, frames.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import WebSocket from "ws";
import {
  Ear,
  finished,
  get,
  historyOf,
  post,
  run,
  square,
  submit,
  textToImage,
  withSimulator,
} from "../../support/simulator/driver.ts";

describe("submits", () => {
  it("answers 500 although the prompt is queued and runs", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ submit500: 1 });
      expect(await post(url, "/prompt", { prompt: square(), prompt_id: "x" })).toMatchObject({ status: 500 });
      expect((await finished(url, "x")).status.status_str).toBe("success");
    });
  });

  it("cuts the connection after the prompt is queued", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ submitReset: 1 });
      await expect(post(url, "/prompt", { prompt: square(), prompt_id: "x" })).rejects.toThrow();
      expect((await finished(url, "x")).status.status_str).toBe("success");
    });
  });

  it("answers a submit late, when its prompt is long done", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ submitMs: 150 });
      const answer = post(url, "/prompt", { prompt: square(), prompt_id: "x" });
      expect((await finished(url, "x")).status.status_str).toBe("success");
      expect((await answer).status).toBe(200);
    });
  });

  it("drops the outputs named as invalid and runs the others, with the reason in the answer", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ rejectNodes: ["3"] });
      const graph = {
        ...square(),
        "3": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "z" } },
      };
      const { status, json } = await post(url, "/prompt", { prompt: graph, prompt_id: "x" });
      expect([status, Object.keys(json.node_errors ?? {})]).toEqual([200, ["3"]]);
      expect(Object.keys((await finished(url, "x")).outputs)).toEqual(["2"]);
    });
  });
});

describe("history", () => {
  it("comes later than the success that announces it, and no later than the end", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ lateHistoryMs: 120 });
      const ear = await Ear.open(url, "a");
      const id = await submit(url, square(), { client_id: "a" });
      await ear.hears("execution_success");
      expect(await historyOf(url, id)).toBeNull();
      expect((await get(url, "/queue")).queue_running).toHaveLength(1);
      await ear.hearsTheEnd(id);
      expect(await historyOf(url, id)).not.toBeNull();
    });
  });
});

describe("routes", () => {
  it("fail for the share of calls they are told to", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ routes: [{ path: "/queue", method: "GET", answer: 503, share: 0.5 }] });
      const statuses: number[] = [];
      for (let i = 0; i < 6; i++) statuses.push((await fetch(`${url}/queue`)).status);
      expect(statuses).toEqual([200, 503, 200, 503, 200, 503]);
      expect((await fetch(`${url}/api/prompt`)).status).toBe(200);
    });
  });

  it("hang or cut the connection", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({
        routes: [
          { path: "/view", answer: "hang" },
          { path: "/history", answer: "reset" },
        ],
      });
      await expect(fetch(`${url}/view?filename=x`, { signal: AbortSignal.timeout(80) })).rejects.toThrow();
      await expect(fetch(`${url}/history/x`)).rejects.toThrow();
    });
  });
});

describe("frames", () => {
  it("are lost from the n-th on although the prompt ends well", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      const ear = await Ear.open(url, "a");
      faults.set({ loseFramesAfter: 3 });
      await run(url, square(), { client_id: "a" });
      expect(ear.types).toEqual(["status", "status", "status", "execution_start"]);
    });
  });

  it("stop for everybody while the publish loop is stalled, and all come when it goes on", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      const ear = await Ear.open(url, "a");
      faults.set({ stalled: true });
      const entry = await run(url, square(), { client_id: "a" });
      expect(ear.types).toEqual(["status"]);
      faults.set({ stalled: null });
      await ear.hearsTheEnd(entry.prompt[1]);
    });
  });

  it("stop for everybody behind one socket that is not read, and come when that one is gone", async () => {
    await withSimulator({ previewMethod: "latent2rgb" }, async ({ url, faults }) => {
      faults.set({ previewBytes: 8_000_000 });
      const deaf = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=deaf`);
      await new Promise((resolve) => deaf.once("open", resolve));
      deaf.pause();
      const ear = await Ear.open(url, "a");
      await run(url, textToImage({ steps: 6 }), { client_id: "deaf" });
      faults.set({ previewBytes: null });
      const entry = await run(url, square(), { client_id: "a" });
      expect(ear.types).not.toContain("execution_start");
      deaf.terminate();
      await ear.hearsTheEnd(entry.prompt[1]);
    });
  });

  it("end with all sockets cut after the n-th", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      const ear = await Ear.open(url, "a");
      faults.set({ cutAfterFrames: 4 });
      await run(url, square(), { client_id: "a" });
      expect(await ear.isClosed()).toBe(1006);
    });
  });

  it("reach a newer socket of the same name after the older one closed only if that bug is off", async () => {
    for (const isBug of [true, false]) {
      await withSimulator({}, async ({ url, faults }) => {
        faults.set({ forgetNewerSocket: isBug });
        const older = await Ear.open(url, "a");
        const newer = await Ear.open(url, "a");
        older.socket.close();
        await older.isClosed();
        await run(url, square(), { client_id: "a" });
        expect(newer.types.includes("execution_success")).toBe(!isBug);
      });
    }
  });

  it("carry unknown types and fields when noise is on", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      const ear = await Ear.open(url, "a");
      faults.set({ noise: true, binaryNoise: true });
      const entry = await run(url, square(), { client_id: "a" });
      await ear.hearsTheEnd(entry.prompt[1]);
      expect(ear.types).toEqual(expect.arrayContaining(["sim.unknown", "binary99"]));
      expect((await ear.hears("execution_start")).data).toHaveProperty("sim_extra");
    });
  });
});

describe("a file with knobs", () => {
  it("is read at the start, and again when it changes", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "knobs-")), "faults.json");
    writeFileSync(file, '{"diskFull": true}');
    await withSimulator({ faultsFile: file }, async ({ url }) => {
      expect(await get(url, "/sim/faults")).toEqual({ diskFull: true });
      writeFileSync(file, '{"stalled": false, "lateHistoryMs": 3}');
      await expect
        .poll(async () => await get(url, "/sim/faults"), { timeout: 5000 })
        .toEqual({ stalled: false, lateHistoryMs: 3 });
    });
  });
});
