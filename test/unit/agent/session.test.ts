/** The standing relation to one ComfyUI: what it must not do once it is closed. */
import { tmpdir } from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { ComfyClient } from "../../../gpu-agent/comfyui/client.ts";
import { ComfySession } from "../../../gpu-agent/comfyui/session.ts";
import { startSimulator } from "../../../gpu-agent/simulator/simulator.ts";
import { until } from "../../support/agent/running-agent.ts";

const settings = { workDir: tmpdir(), comfyDir: null, requireSafe: false, stopGraceMs: 1_000 };

/** The answers to a session that begins, and what it then says. */
async function begin(make: (url: string, answered: () => void) => ComfyClient) {
  const sim = await startSimulator({});
  const seen = { answers: 0, said: [] as string[] };
  const tell = (what: string) => () => void seen.said.push(what);
  const hooks = { changed: tell("changed"), down: tell("down"), up: tell("up"), capability: tell("capability") };
  const client = make(sim.url, () => void seen.answers++);
  const session = new ComfySession(client, settings, {
    ...hooks,
    deadWorker: tell("dead worker"),
    ignored: tell("ignored"),
  });
  session.start();
  return { sim, client, session, seen };
}

/** What it asked is answered although it is closed. */
class Unbroken extends ComfyClient {
  override async close(): Promise<void> {}
}

it("a session that is closed while it asks ComfyUI what it is opens no socket and finds nothing ready", async () => {
  const whole = await begin((url, answered) => new ComfyClient(url, answered));
  await until(() => whole.seen.said.includes("up"));
  const { answers } = whole.seen;
  await whole.session.close();
  await whole.sim.close();

  const cut = await begin((url, answered) => new Unbroken(url, answered));
  await until(() => cut.seen.answers > 0);
  await cut.session.close();
  await until(() => cut.seen.answers >= answers);
  for (let turns = 0; turns < 5; turns++) await turn();
  expect(cut.seen.said).toEqual([]);
  expect(cut.session.state.kind).toBe("down");
  await cut.client.http.close();
  await cut.sim.close();
});
