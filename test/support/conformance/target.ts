/**
 * Owns the system a conformance battery runs against: the one BASE_URL names, else a whole stack started for the file.
 * Invariant: a battery sees URLs and keys alone, so it runs unchanged against a deployment.
 *
 * With BASE_URL: USER_KEY (an internal or pro user's), SERVICE_KEY, ADMIN_KEY, and MODEL where the checkpoint is another one.
 */
import { z } from "zod";
import { startFlowStack } from "../flow-stack.ts";

export type Target = {
  /** How the report names it. */
  name: string;
  url: string;
  userKey: string;
  serviceKey: string;
  adminKey: string;
  /** A checkpoint its agents have. */
  model: string;
  close(): Promise<void>;
};

const remoteSchema = z.object({
  BASE_URL: z.url().transform((url) => url.replace(/\/+$/, "")),
  USER_KEY: z.string(),
  SERVICE_KEY: z.string(),
  ADMIN_KEY: z.string(),
  MODEL: z.string().default("v1-5-pruned-emaonly.ckpt"),
});

export async function openTarget(): Promise<Target> {
  // BASE_URL as the run was given it: Vite gives tests one of its own.
  const given = process.env.CONFORMANCE_URL ?? "";
  if (given !== "") {
    const env = remoteSchema.parse({ ...process.env, BASE_URL: given });
    const { BASE_URL: url, USER_KEY: userKey, SERVICE_KEY: serviceKey, ADMIN_KEY: adminKey, MODEL: model } = env;
    return { name: url, url, userKey, serviceKey, adminKey, model, close: async () => {} };
  }
  const flow = await startFlowStack({ stepMs: 5 });
  const { api_url: url, user_key: userKey, service_key: serviceKey, admin_key: adminKey, model } = flow.file;
  return { name: "local stack", url, userKey, serviceKey, adminKey, model, close: () => flow.stop() };
}
