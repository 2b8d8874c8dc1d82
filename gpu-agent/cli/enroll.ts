/**
 * Owns `enroll`: a code for a token, kept in a file that its owner alone can read.
 * Invariant: nothing is asked before the file can be written; the same code asked again from here is the same asking, so that a
 * lost answer or a killed process costs no code.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { z } from "zod";
import { EXIT, httpUrlOf } from "../config.ts";
import { BadAnswer } from "../control-plane.ts";
import {
  credentialsPath,
  credentialsText,
  readCredentials,
  replaceByItself,
  writePrivately,
} from "../credentials-file.ts";
import { jsonOrNull } from "../json.ts";
import { type CommandInput, done, failed, isInClear, type Outcome, wrong } from "./command.ts";
import { ControlSelf } from "./control-self.ts";

const pendingSchema = z.object({ code_sha256: z.string(), enrol_id: z.string() });

export async function enroll({ flags, given, isFromFile, say }: CommandInput): Promise<Outcome> {
  const url = httpUrlOf(flags.get("url") ?? given.CONTROL_URL ?? "");
  const code = flags.get("code");
  if (url === null) return wrong("--url is the control plane, e.g. https://api.example.com");
  if (code === undefined || code === "") return wrong("--code is the code that an operator gave you");
  const path = credentialsPath(given);
  const kept = readCredentials(path);
  if (kept?.AGENT_TOKEN !== undefined && flags.get("force") === undefined)
    return wrong(`this box is enrolled already (${path}): --force puts the new agent in place of the old`);
  const pendingPath = `${path}.enrolling`;
  const enrol_id = pendingId(pendingPath, code);
  let before = "";
  try {
    before = replaceByItself(path);
    writePrivately(pendingPath, JSON.stringify({ code_sha256: hashOf(code), enrol_id }));
  } catch {
    return wrong(`${path} cannot be written: choose another place with --credentials-file`);
  }
  if (isInClear(url)) say(`${url} is without TLS: who listens on the way can act as this agent; use https`);
  const { CONTROL_URL: other = url } = given;
  const isOther = other !== kept?.CONTROL_URL && httpUrlOf(other) !== url;
  const over = [given.AGENT_TOKEN !== undefined && !isFromFile ? "AGENT_TOKEN" : "", isOther ? "CONTROL_URL" : ""];
  for (const name of over.filter((one) => one !== ""))
    say(`${name} is set, in the environment or as a flag, and wins over ${path}: remove it there`);
  return ask(url, code, enrol_id, { path, pendingPath, before });
}

async function ask(
  url: string,
  code: string,
  enrol_id: string,
  { path, pendingPath, before }: { path: string; pendingPath: string; before: string },
): Promise<Outcome> {
  const control = new ControlSelf(url, null);
  try {
    const answer = await control.enrol(code, enrol_id);
    if (answer === null) {
      rmSync(pendingPath, { force: true });
      return wrong(
        "the code is wrong, was used, or is older than 15 minutes: ask an operator for a new one",
        EXIT.refused,
      );
    }
    const { token, ...who } = answer;
    writePrivately(path, credentialsText({ CONTROL_URL: url, AGENT_TOKEN: token }, before));
    rmSync(pendingPath, { force: true });
    const lines = [`enrolled as ${who.name} (${who.agent}) of pool ${who.pool}; token in ${path}`];
    return done([...lines, "next: gpu-agent doctor, then gpu-agent"], { ...who, credentials_file: path });
  } catch (error) {
    const outcome = failed(error, url);
    if (outcome.code !== EXIT.unanswered) return outcome;
    if (error instanceof BadAnswer)
      return wrong(
        `${url} does not answer as a control plane does (${error.message}): correct --url, its address without a path; nothing is lost while the code is good`,
        EXIT.unanswered,
      );
    const advice = "; nothing is lost: run the same command here again while the code is good";
    return wrong(`${url} did not answer${advice}`, EXIT.unanswered);
  } finally {
    await control.close();
  }
}

/** As in an earlier asking with this code, else a new one. */
function pendingId(path: string, code: string): string {
  const pending = pendingSchema.safeParse(jsonOrNull(textOf(path)));
  if (pending.success && pending.data.code_sha256 === hashOf(code)) return pending.data.enrol_id;
  return randomBytes(16).toString("hex");
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
