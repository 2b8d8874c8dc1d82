/**
 * Owns what an attempt's progress socket sends, by who would see it.
 */
import { afterEach, expect, it, vi } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { z } from "zod";
import { ProgressLink } from "../../../gpu-agent/progress-link.ts";
import type { AgentDownFrame, ProgressDetail } from "../../../src/protocol/progress.ts";

const DETAIL: ProgressDetail = {
  phase: "executing",
  current_node: null,
  current_node_type: null,
  current_step: null,
  total_steps: null,
  nodes_done: null,
  nodes_total: null,
  message: null,
};
const NOBODY: AgentDownFrame = { type: "audience", viewers: false, previews: false };
const frameSchema = z.object({ type: z.string(), progress: z.number().optional() });

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A control plane that takes one progress socket and says `first` as soon as it is there. */
async function watched(first: AgentDownFrame | null) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const heard: string[] = [];
  let previews = 0;
  const met = new Promise<WebSocket>((resolve) => {
    server.on("connection", (socket) => {
      if (first) socket.send(JSON.stringify(first));
      socket.on("message", (data, isBinary) => {
        if (isBinary) previews++;
        else if (String(data).startsWith("{")) heard.push(shortOf(String(data)));
      });
      resolve(socket);
    });
  });
  const target = { control_url: `http://127.0.0.1:${port}`, progress_url: "/agent/v1/leases/progress", ahead: false };
  let told = 0;
  const handlers = { cancel: () => told++, lost: () => told++, opened: () => undefined, closed: () => undefined };
  const link = new ProgressLink(target, "token", "lease", handlers);
  closing.push(() => {
    link.abandon();
    server.close();
  });
  const socket = await met;
  /** Resolves when the agent has taken in all that was said to it before: a word it answers to. */
  const say = async (frame: AgentDownFrame) => {
    const before = told;
    socket.send(JSON.stringify(frame));
    socket.send(JSON.stringify({ type: "cancel" } satisfies AgentDownFrame));
    await vi.waitFor(() => expect(told).toBe(before + 1));
  };
  return { link, heard, say, previews: () => previews };
}

function shortOf(text: string): string {
  const { type, progress } = frameSchema.parse(JSON.parse(text));
  return progress === undefined ? type : `${type} ${progress}`;
}

it("An agent that nobody watches says no more than where it stands now and then, and shows no picture", async () => {
  const { link, heard, say, previews } = await watched(null);
  link.progress(0.1, DETAIL);
  await vi.waitFor(() => expect(heard).toEqual(["progress 0.1"]));
  await say(NOBODY);
  link.progress(0.2, DETAIL);
  link.progress(0.3, DETAIL);
  link.log("warn", "a word");
  link.preview(null, "image/png", Buffer.from("x"));
  link.done();
  await vi.waitFor(() => expect(heard.at(-1)).toBe("done"));
  expect(heard).toEqual(["progress 0.1", "done"]);
  expect(previews()).toBe(0);
});

it("Whoever comes sees at once where the run stands, and all that follows", async () => {
  const { link, heard, say, previews } = await watched(null);
  link.progress(0.1, DETAIL);
  await vi.waitFor(() => expect(heard).toEqual(["progress 0.1"]));
  await say(NOBODY);
  link.progress(0.2, DETAIL);
  await say({ type: "audience", viewers: true, previews: false });
  await vi.waitFor(() => expect(heard).toEqual(["progress 0.1", "progress 0.2"]));
  link.log("warn", "a word");
  link.preview(null, "image/png", Buffer.from("x"));
  link.progress(0.3, DETAIL);
  await vi.waitFor(() => expect(heard.slice(2)).toEqual(["log", "progress 0.3"]));
  expect(previews()).toBe(0);
  await say({ type: "audience", viewers: true, previews: true });
  link.preview(null, "image/png", Buffer.from("x"));
  await vi.waitFor(() => expect(previews()).toBe(1));
});

it("A control plane that says nothing of its audience hears everything", async () => {
  const { link, heard, previews } = await watched(null);
  link.progress(0.1, DETAIL);
  link.progress(0.2, DETAIL);
  await vi.waitFor(() => expect(heard.at(-1)).toBe("progress 0.2"));
  link.preview(null, "image/png", Buffer.from("x"));
  await vi.waitFor(() => expect(previews()).toBe(1));
});
