/**
 * Every fault knob does to the simulator what its real counterpart does to a server.
 */
import { describe, expect, it } from "vitest";
import {
  Ear,
  finished,
  firstFile,
  get,
  historyOf,
  post,
  run,
  square,
  submit,
  textToImage,
  withSimulator,
} from "../../support/simulator/driver.ts";
import { describePicture } from "../../support/simulator/pictures.ts";

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms));

describe("the knobs themselves", () => {
  it("are set, shown, turned off with null and reset over HTTP, and refuse what is no knob", async () => {
    await withSimulator({}, async ({ url }) => {
      expect((await post(url, "/sim/faults", { lateHistoryMs: 5, diskFull: true })).json).toEqual({
        lateHistoryMs: 5,
        diskFull: true,
      });
      expect((await post(url, "/sim/faults", { diskFull: null })).json).toEqual({ lateHistoryMs: 5 });
      expect(await post(url, "/sim/faults", { nonsense: 1 })).toMatchObject({ status: 400 });
      expect(await get(url, "/sim/faults")).toEqual({ lateHistoryMs: 5 });
      await fetch(`${url}/sim/faults`, { method: "DELETE" });
      expect(await get(url, "/sim/faults")).toEqual({});
    });
  });
});

describe("a process that dies", () => {
  it("cuts its sockets with 1006, refuses connections, and comes back with an empty queue and history and number 0", async () => {
    await withSimulator({ stepMs: 50 }, async (simulator) => {
      const { url } = simulator;
      await run(url, square());
      const ear = await Ear.open(url, "a");
      const id = await submit(url, textToImage({ steps: 50 }));
      await post(url, "/sim/faults", { crash: { at: "now", downMs: 120 } });
      expect(await ear.isClosed()).toBe(1006);
      await expect(fetch(`${url}/prompt`)).rejects.toThrow();
      await expect
        .poll(async () => await get(url, "/queue").catch(() => null))
        .toEqual({ queue_running: [], queue_pending: [] });
      expect(await get(url, "/history")).toEqual({});
      expect(await historyOf(url, id)).toBeNull();
      expect((await post(url, "/prompt", { prompt: square() })).json).toMatchObject({ number: 0 });
      expect(await get(url, "/sim/state")).toMatchObject({ life: 2 });
    });
  });

  it.each(["submit", "dequeue", "start", "node", "step", "save", "success", "history"] as const)(
    "loses the prompt when it dies at '%s', and runs it when it is sent again",
    async (at) => {
      await withSimulator({}, async ({ url, faults }) => {
        faults.set({ crash: { at } });
        const sent = post(url, "/prompt", { prompt: textToImage(), prompt_id: "again" }).catch(() => null);
        await expect.poll(async () => (await get(url, "/sim/state").catch(() => null))?.life).toBe(2);
        await sent;
        expect(await historyOf(url, "again")).toBeNull();
        const entry = await run(url, textToImage(), { prompt_id: "again" });
        expect(entry.status.status_str).toBe("success");
      });
    },
  );

  it("wipes the temporary folder and keeps the output folder", async () => {
    await withSimulator({}, async (simulator) => {
      const { url } = simulator;
      const saved = await run(url, square());
      const preview = await run(url, {
        ...square(),
        "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } },
      });
      await simulator.crash();
      expect((await firstFile(url, saved)).length).toBeGreaterThan(0);
      await expect(firstFile(url, preview)).rejects.toThrow("404");
    });
  });

  it("refuses connections while it starts slowly", async () => {
    await withSimulator({}, async (simulator) => {
      const { url } = simulator;
      const back = simulator.crash(150);
      await expect(fetch(`${url}/prompt`)).rejects.toThrow();
      await back;
      expect((await fetch(`${url}/prompt`)).status).toBe(200);
    });
  });
});

describe("a worker that dies", () => {
  it("leaves its prompt running for ever while HTTP goes on and interrupts do nothing", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ zombie: "run" });
      const id = await submit(url, square());
      await submit(url, square(8));
      await post(url, "/interrupt", { prompt_id: id });
      await pause(60);
      const queue = await get(url, "/queue");
      expect(queue.queue_running).toHaveLength(1);
      expect(queue.queue_pending).toHaveLength(1);
      expect((await fetch(`${url}/system_stats`)).status).toBe(200);
      expect(await historyOf(url, id)).toBeNull();
    });
  });

  it("leaves prompts waiting with nothing running when it dies before taking one", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ zombie: "dequeue" });
      await submit(url, square());
      await pause(40);
      const queue = await get(url, "/queue");
      expect([queue.queue_running, queue.queue_pending]).toMatchObject([[], [expect.anything()]]);
    });
  });
});

describe("nodes that misbehave", () => {
  it("never ends a hanging node, whatever is interrupted", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ hang: "VAEDecode" });
      const id = await submit(url, textToImage());
      await expect.poll(async () => (await get(url, "/sim/state")).class).toBe("VAEDecode");
      await post(url, "/interrupt", { prompt_id: id });
      await pause(60);
      expect(await historyOf(url, id)).toBeNull();
    });
  });

  it("notices an interrupt of a node without ticks only when the next node is about to start", async () => {
    await withSimulator({}, async ({ url, faults, timeline }) => {
      faults.set({ nodeMs: { EmptyImage: 150 } });
      const id = await submit(url, square());
      await expect.poll(async () => (await get(url, "/sim/state")).class).toBe("EmptyImage");
      await post(url, "/interrupt", { prompt_id: id });
      const { status } = await finished(url, id);
      expect(status.messages.at(-1)).toMatchObject(["execution_interrupted", { node_id: "2", executed: ["1"] }]);
      const moments = timeline.since(0);
      const asked = moments.find(({ what }) => what === "POST /interrupt")?.at ?? 0;
      expect((moments.find(({ what }) => what === "end")?.at ?? 0) - asked).toBeGreaterThan(50);
    });
  });

  it.each([
    ["type", "torch.OutOfMemoryError", "Allocation on device"],
    ["text", "RuntimeError", "CUDA error: out of memory"],
  ] as const)("runs out of memory by %s once, and unloads its models", async (kind, type, message) => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ outOfMemory: { kind } });
      const { status } = await run(url, textToImage());
      expect(status.messages.at(-1)).toMatchObject([
        "execution_error",
        { exception_type: type, node_type: "KSampler" },
      ]);
      expect(String(status.messages.at(-1)?.[1].exception_message)).toContain(message);
      expect(await get(url, "/sim/state")).toMatchObject({ loaded_model: null });
      expect((await run(url, textToImage())).status.status_str).toBe("success");
    });
  });

  it("fails every later prompt and /system_stats on a poisoned device until it restarts", async () => {
    await withSimulator({}, async (simulator) => {
      const { url, faults } = simulator;
      faults.set({ poison: 1 });
      for (const seed of [1, 2]) {
        const { status } = await run(url, textToImage({ seed }));
        expect(String(status.messages.at(-1)?.[1].exception_message)).toContain("illegal memory access");
      }
      expect((await fetch(`${url}/system_stats`)).status).toBe(500);
      expect((await fetch(`${url}/prompt`)).status).toBe(200);
      await simulator.crash();
      expect((await run(url, textToImage())).status.status_str).toBe("success");
    });
  });

  it("raises what it is told to in a class, as often as it is told to", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ failNode: { class: "SaveImage", type: "ValueError", message: "no", times: 1 } });
      const { status } = await run(url, square());
      expect(status.messages.at(-1)).toMatchObject([
        "execution_error",
        { exception_type: "ValueError", exception_message: "no\n" },
      ]);
      expect((await run(url, square())).status.status_str).toBe("success");
    });
  });

  it("reports a blocked node as an error and ends with success and no outputs", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ block: { class: "EmptyImage", message: "not today" } });
      const ear = await Ear.open(url, "a");
      const id = await submit(url, square(), { client_id: "a" });
      await ear.hearsTheEnd(id);
      expect((await ear.hears("execution_error")).data).toMatchObject({
        exception_type: "ExecutionBlocked",
        exception_message: "Execution Blocked: not today",
        node_id: "2",
      });
      expect(ear.texts.find(({ type }) => type === "execution_error")?.data).not.toHaveProperty("timestamp");
      const entry = await historyOf(url, id);
      expect(entry).toMatchObject({ outputs: {}, status: { status_str: "success" } });
      expect(entry?.status.messages.map(([event]) => event)).not.toContain("execution_error");
    });
  });
});

describe("interrupts that get lost", () => {
  it("loses an interrupt that comes between dequeue and start", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ dequeueMs: 80 });
      const id = await submit(url, textToImage());
      await expect.poll(async () => (await get(url, "/queue")).queue_running).toHaveLength(1);
      await post(url, "/interrupt", { prompt_id: id });
      expect((await finished(url, id)).status.status_str).toBe("success");
    });
  });

  it("loses as many interrupts as it is told to", async () => {
    await withSimulator({ stepMs: 10 }, async ({ url, faults }) => {
      faults.set({ loseInterrupts: 1 });
      const id = await submit(url, textToImage({ steps: 60 }));
      await expect.poll(async () => (await get(url, "/sim/state")).class).toBe("KSampler");
      await post(url, "/interrupt", { prompt_id: id });
      await pause(60);
      expect(await historyOf(url, id)).toBeNull();
      await post(url, "/interrupt", { prompt_id: id });
      expect((await finished(url, id)).status.messages.at(-1)?.[0]).toBe("execution_interrupted");
    });
  });

  it("does not hear an interrupt for a while and then does", async () => {
    await withSimulator({ stepMs: 10 }, async ({ url, faults, timeline }) => {
      faults.set({ ignoreInterruptsMs: 200 });
      const since = performance.timeOrigin + performance.now();
      const id = await submit(url, textToImage({ steps: 200 }));
      await expect.poll(async () => (await get(url, "/sim/state")).class).toBe("KSampler");
      await post(url, "/interrupt", { prompt_id: id });
      expect((await finished(url, id)).status.messages.at(-1)?.[0]).toBe("execution_interrupted");
      expect((timeline.since(0).find(({ what }) => what === "end")?.at ?? 0) - since).toBeGreaterThan(190);
    });
  });
});

describe("files that go wrong", () => {
  it("writes pictures that no decoder takes", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ corruptOutputs: 1 });
      expect(await describePicture(await firstFile(url, await run(url, textToImage())))).toBeNull();
      expect(await describePicture(await firstFile(url, await run(url, textToImage({ seed: 2 }))))).not.toBeNull();
    });
  });

  it("names a file that is not there", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ vanishOutputs: 1 });
      await expect(firstFile(url, await run(url, square()))).rejects.toThrow("404");
    });
  });

  it("fails to save on a full disk", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ diskFull: true });
      const { status } = await run(url, square());
      expect(status.messages.at(-1)).toMatchObject([
        "execution_error",
        { exception_type: "OSError", node_type: "SaveImage" },
      ]);
    });
  });

  it("writes files as large and as many as it is told to, and still whole", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ outputBytes: 3_000_000, outputCopies: 4 });
      const entry = await run(url, square());
      expect(entry.outputs["2"]?.images).toHaveLength(4);
      const file = await firstFile(url, entry);
      expect(file).toHaveLength(3_000_000);
      expect(await describePicture(file)).not.toBeNull();
    });
  });
});
