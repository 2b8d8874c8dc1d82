/**
 * Owns the keys of a local stack: made once over the public admin API, kept in the data folder, reused by the next start.
 * Invariant: the stack has no way in that an operator does not have; the file is readable by its owner only.
 */
import { join } from "node:path";
import { z } from "zod";
import { readIfThere, writePrivately } from "./stack-file.ts";

const credentialsSchema = z.object({
  admin_key: z.string(),
  user_key: z.string(),
  service_key: z.string(),
  /** By agent name: the token is the agent's identity. */
  agent_tokens: z.record(z.string(), z.string()),
});
export type Credentials = z.infer<typeof credentialsSchema>;

const keySchema = z.object({ key: z.string() });
const userSchema = z.object({ user_id: z.string() });
const agentSchema = z.object({ token: z.string() });

const pathIn = (dataDir: string) => join(dataDir, "credentials.json");

async function post<T extends z.ZodType>(url: string, key: string, body: unknown, schema: T): Promise<z.infer<T>> {
  const response = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${new URL(url).pathname} answered ${response.status}: ${text.slice(0, 300)}`);
  return schema.parse(JSON.parse(text));
}

/** The stored keys when the API still takes them, else new ones. Throws when the first admin key was made and is lost. */
export async function credentialsFor(api: string, dataDir: string, bootstrapToken: string): Promise<Credentials> {
  const stored = readIfThere(pathIn(dataDir));
  const known = stored === null ? null : (credentialsSchema.safeParse(JSON.parse(stored)).data ?? null);
  if (known && (await isTaken(api, known.user_key))) return known;
  const made = await makeCredentials(api, bootstrapToken).catch((error: unknown) => {
    throw new Error(
      `the keys of this data folder could not be made (${error instanceof Error ? error.message : String(error)}); ` +
        `if ${pathIn(dataDir)} was lost, start with an empty folder (--data DIR)`,
    );
  });
  writePrivately(pathIn(dataDir), made);
  return made;
}

/** The keys of a stack that has been started on this folder. Throws when there are none. */
export function storedCredentials(dataDir: string): Credentials {
  const stored = readIfThere(pathIn(dataDir));
  if (stored === null) throw new Error(`there are no keys in ${pathIn(dataDir)}`);
  return credentialsSchema.parse(JSON.parse(stored));
}

async function isTaken(api: string, key: string): Promise<boolean> {
  const response = await fetch(`${api}/api/v1/jobs?limit=1`, { headers: { Authorization: `Bearer ${key}` } });
  await response.body?.cancel();
  return response.status !== 401;
}

async function makeCredentials(api: string, bootstrapToken: string): Promise<Credentials> {
  const { key: admin_key } = await post(`${api}/admin/bootstrap`, bootstrapToken, {}, keySchema);
  const makeKey = async (kind: "user" | "service", name: string) => {
    const { user_id } = await post(`${api}/admin/users`, admin_key, { name, role: "internal" }, userSchema);
    return (await post(`${api}/admin/api-keys`, admin_key, { user_id, kind, name }, keySchema)).key;
  };
  const [user_key, service_key] = await Promise.all([makeKey("user", "local"), makeKey("service", "local-backend")]);
  return { admin_key, user_key, service_key, agent_tokens: {} };
}

/** The token of a named agent, made when the folder has none. */
export async function agentTokenFor(api: string, dataDir: string, keys: Credentials, name: string): Promise<string> {
  const known = keys.agent_tokens[name];
  if (known !== undefined) return known;
  const token = await makeAgent(api, keys.admin_key, name);
  keys.agent_tokens[name] = token;
  writePrivately(pathIn(dataDir), keys);
  return token;
}

/** A new agent of the default pool; the token is shown this once. */
async function makeAgent(api: string, adminKey: string, name: string): Promise<string> {
  return (await post(`${api}/admin/agents`, adminKey, { pool: "default", name, credential: "token" }, agentSchema))
    .token;
}
