/**
 * Owns the shape of a row of the bad-input catalogue, and the short ways to ask.
 * Invariant: a row says what is sent and what comes back; it stores nothing.
 */
import { as, type Person, post, send } from "../client.ts";

export type Asker = { user: Person; other: Person; service: Person; foreignJob: string; agentToken: string };
export type Row = readonly [
  id: string,
  what: string,
  ask: (who: Asker) => Promise<Response>,
  status: number,
  code: string | null,
];

export const submit =
  (body: string, headers: Record<string, string> = {}) =>
  ({ user }: Asker) =>
    send("/api/v1/jobs", post(user.key, body, headers));
export const submitBytes = (bytes: Uint8Array<ArrayBuffer>) => (who: Asker) =>
  send("/api/v1/jobs", { ...post(who.user.key, ""), body: bytes });
export const get =
  (path: string, headers: Record<string, string> = {}) =>
  ({ user }: Asker) =>
    send(path, as(user.key, headers));
export const ask =
  (method: string, path: string, headers: Record<string, string> = {}) =>
  ({ user }: Asker) =>
    send(path, { ...as(user.key, headers), method });
/** Without any key of ours. */
export const bare =
  (path: string, headers: Record<string, string> = {}) =>
  () =>
    send(path, { headers });

export const webhook =
  (json: string) =>
  ({ user }: Asker) =>
    send("/api/v1/webhooks", post(user.key, json));
export const withField = (field: string, json: string) => submit(`{"prompt": "a", "${field}": ${json}}`);
export const workflow = (graph: string) => submit(`{"workflow": ${graph}}`);
export const node = (inputs: string, classType = "SaveImage") =>
  workflow(`{"1": {"class_type": "${classType}", "inputs": ${inputs}}}`);
