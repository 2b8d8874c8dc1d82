/**
 * Owns the figures of large outputs: a file of 2 MB and one of 200 MB, what of them passes the API, and what the agent needs of memory.
 * Invariant: every byte between agent and API goes through a counter; the bucket is reached past it.
 */
import { connect, createServer } from "node:net";
import { freePort } from "../../dev/stack/children.ts";
import { pictureGraph, setKnobs } from "../comfyui.ts";
import { memoryMb, withRig } from "../rig.ts";

const MB = 1_000_000;
/** Locally the bucket shares the API's one thread, and 200 MB keep it busy for seconds: no lease may hang on that. */
const VARS = { LEASE_MS: "240000", FIRST_LEASE_MS: "240000", RENEW_MS: "20000", LEASE_SOCKET_GRACE_MS: "60000" };

export async function measureLargeOutputs(): Promise<Record<string, number>> {
  const port = await freePort();
  const counter = await startCounter(port);
  try {
    return await withRig({ port, agents: 1, vars: VARS, agentEnv: { CONTROL_URL: counter.url } }, async (rig) => {
      const [agent] = rig.stack.agents;
      if (!agent) throw new Error("the rig has an agent");
      const figures: Record<string, number> = {};
      for (const size of [2, 200]) {
        await setKnobs(agent.comfyuiUrl, { outputBytes: size * MB });
        const before = counter.bytes();
        const begun = performance.now();
        const { job_id } = await rig.submit(pictureGraph());
        await rig.succeeded(job_id, 300_000);
        figures[`output_${size}mb_ms`] = performance.now() - begun;
        figures[`output_${size}mb_api_bytes`] = counter.bytes() - before;
        figures[`output_${size}mb_agent_peak_mb`] = memoryMb(agent.process.pid() ?? 0, "peak");
      }
      return figures;
    });
  } finally {
    counter.close();
  }
}

/** A TCP proxy that counts what passes, both ways. */
async function startCounter(target: number): Promise<{ url: string; bytes(): number; close(): void }> {
  let bytes = 0;
  const server = createServer((client) => {
    const far = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [client, far],
      [far, client],
    ] as const) {
      from.on("data", (chunk) => {
        bytes += chunk.length;
        to.write(chunk);
      });
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("a TCP server has a port");
  return { url: `http://127.0.0.1:${address.port}`, bytes: () => bytes, close: () => void server.close() };
}
