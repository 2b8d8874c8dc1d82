/**
 * Owns what the doctor looks at between this box and the control plane: the way there, the clock, the token, the control socket
 * and the way to the bucket.
 * Invariant: leaves nothing behind but one file of a kilobyte, which the bucket's rule of a day removes.
 */
import { createHash, randomBytes } from "node:crypto";
import { WebSocket } from "ws";
import { HEADER_PROTOCOL } from "../../src/protocol/agent-api.ts";
import type { AgentSelf } from "../../src/protocol/agent-self.ts";
import { AGENT_PROTOCOL } from "../../src/protocol/version.ts";
import { httpUrlOf } from "../config.ts";
import { BadAnswer, Rejected } from "../control-plane.ts";
import { CallFailed, HttpOrigin } from "../http-origin.ts";
import { TryAgain } from "../retry.ts";
import { bad, type Check, odd, well } from "./check.ts";
import { isInClear } from "./command.ts";
import { ControlSelf } from "./control-self.ts";
import { linesOf } from "./holds.ts";

const TIMEOUT_MS = 10_000;
/** Leases are counted by a monotonic clock; the wall clock matters for pauses, for logs and for certificates. */
const ODD_CLOCK_MS = 30_000;
const BAD_CLOCK_MS = 600_000;
const TEST_BYTES = 1_024;
const NO_ANSWER =
  "check the network, its proxy and firewall, and CONTROL_URL: outgoing HTTPS to it is all that is needed";

export async function checkControl(address: string, token: string | null): Promise<Check[]> {
  const url = httpUrlOf(address);
  if (url === null)
    return [bad("control_plane", `${address} is no address`, "correct CONTROL_URL, e.g. https://api.example.com")];
  const reached = await checkReach(url);
  if (reached.verdict === "fail") return [reached];
  if (token === null)
    return [
      reached,
      bad("token", "there is none", "ask an operator for a code, then gpu-agent enroll --url URL --code CODE"),
    ];
  const control = new ControlSelf(url, token);
  try {
    const { check, self, sent, answered } = await checkToken(control);
    if (self === null) return [reached, check];
    const clock = checkClock(Date.parse(self.now) - (sent + answered) / 2);
    return [reached, check, clock, await checkSocket(url, token), await checkUpload(control)];
  } finally {
    await control.close();
  }
}

async function checkReach(url: string): Promise<Check> {
  const name = "control_plane";
  const http = new HttpOrigin(url);
  try {
    const started = performance.now();
    const { status, headers } = await http.call("GET", "ping", { timeout_ms: TIMEOUT_MS });
    const ms = Math.round(performance.now() - started);
    const version = headers["x-api-version"];
    if (status !== 200 || typeof version !== "string")
      return bad(
        name,
        `${url} answers ${status}, but not as a control plane does`,
        "correct CONTROL_URL: it is the API's address, without a path",
      );
    const finding = `${url} answers in ${ms} ms, API ${version}`;
    if (isInClear(url)) return odd(name, `${finding}, without TLS`, "use https: the token travels with every call");
    return well(name, finding, { ms, api_version: version });
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error;
    return bad(name, `${url} does not answer (${error.kind})`, NO_ANSWER);
  } finally {
    await http.close();
  }
}

type Asked = { check: Check; self: AgentSelf | null; sent: number; answered: number };

async function checkToken(control: ControlSelf): Promise<Asked> {
  const name = "token";
  const no = (check: Check): Asked => ({ check, self: null, sent: 0, answered: 0 });
  try {
    const sent = Date.now();
    const self = await control.read();
    const answered = Date.now();
    const [first = ""] = linesOf(self);
    const check = self.hold === null ? well(name, first) : odd(name, first, resumeAdvice(self.hold.by));
    return { check, self, sent, answered };
  } catch (error) {
    if (error instanceof Rejected && error.status === 426)
      return no(bad(name, "the control plane does not speak this agent's protocol", "update the agent"));
    if (error instanceof Rejected)
      return no(
        bad(
          name,
          "it was refused: revoked, or replaced by a later one",
          "ask an operator for a new code, then gpu-agent enroll --force",
        ),
      );
    if (error instanceof CallFailed || error instanceof TryAgain || error instanceof BadAnswer)
      return no(
        bad(
          name,
          `it could not be tried (${error.message})`,
          "try again; if it stays, tell the operators of the control plane",
        ),
      );
    throw error;
  }
}

function resumeAdvice(by: "operator" | "agent" | "pool"): string {
  return by === "agent" ? "gpu-agent resume, when it is to work again" : "an operator held it, and can resume it";
}

/** @param aheadMs how far the control plane's clock is ahead of ours. */
export function checkClock(aheadMs: number): Check {
  const name = "clock";
  const seconds = Math.round(Math.abs(aheadMs) / 100) / 10;
  const finding = `${seconds} s ${aheadMs > 0 ? "behind" : "ahead of"} the control plane's`;
  const facts = { ahead_ms: Math.round(-aheadMs) };
  const advice = "let the machine keep its time by NTP (timedatectl set-ntp true)";
  if (Math.abs(aheadMs) > BAD_CLOCK_MS) return bad(name, finding, advice, facts);
  return Math.abs(aheadMs) > ODD_CLOCK_MS ? odd(name, finding, advice, facts) : well(name, finding, facts);
}

/** Opens and closes one; without a hello the pool takes it for nobody. */
function checkSocket(url: string, token: string): Promise<Check> {
  const name = "control_socket";
  const headers = { authorization: `Bearer ${token}`, [HEADER_PROTOCOL]: String(AGENT_PROTOCOL) };
  const advice = "let the proxy or firewall pass WebSockets; until then jobs come by the queue, later";
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/agent/v1/control`, {
      headers,
      handshakeTimeout: TIMEOUT_MS,
    });
    socket.once("open", () => {
      socket.close(1000);
      resolve(well(name, "it opens: jobs are offered at once"));
    });
    socket.once("error", () => {
      socket.terminate();
      resolve(odd(name, "it does not open", advice));
    });
  });
}

async function checkUpload(control: ControlSelf): Promise<Check> {
  const name = "test_upload";
  const bytes = randomBytes(TEST_BYTES);
  const bucket = new HttpOrigin("http://bucket.invalid");
  try {
    const { url, headers } = await control.testUpload(bytes.length, createHash("md5").update(bytes).digest("hex"));
    const { host } = new URL(url);
    const started = performance.now();
    const answer = await bucket.call("PUT", url, { headers, body: bytes, timeout_ms: TIMEOUT_MS });
    const ms = Math.round(performance.now() - started);
    if (answer.status === 200 || answer.status === 201)
      return well(name, `the bucket at ${host} took it in ${ms} ms`, { ms });
    const advice = "tell the operators of the control plane: its bucket or its key is not set up right";
    return bad(
      name,
      `the bucket at ${host} answers ${answer.status}`,
      answer.status === 403 ? `${advice}; see the clock, too` : advice,
    );
  } catch (error) {
    if (error instanceof CallFailed)
      return bad(
        name,
        `the bucket cannot be reached (${error.kind})`,
        "let outgoing HTTPS to the bucket's host pass: results go there",
      );
    if (error instanceof TryAgain || error instanceof BadAnswer || error instanceof Rejected)
      return bad(
        name,
        `the control plane signs no upload (${error.message})`,
        "try again; if it stays, tell its operators",
      );
    throw error;
  } finally {
    await bucket.close();
  }
}
