/**
 * Owns the OpenAPI document outside a running Worker: the app itself is asked for it, in this process.
 * Invariant: the same document as `/openapi.json` of a deployment with the variables of wrangler.toml.
 */

import { z } from "zod";
import { type Configuration, SECRET_NAMES } from "./configuration.ts";

/** Not imported by name: the app is checked against the types of Workers, this process against those of Node. */
const APP = new URL("../../src/http/app.ts", import.meta.url).href;
type App = { request(url: string, init: RequestInit, env: object): Promise<Response> };
const appModule = z.object({
  app: z.custom<App>((app) => typeof app === "object" && app !== null && "request" in app),
});

const mediaSchema = z.record(
  z.string(),
  z.looseObject({ schema: z.unknown().optional(), example: z.unknown().optional() }),
);
const operationSchema = z.looseObject({
  tags: z.array(z.string()).default([]),
  summary: z.string().default(""),
  description: z.string().default(""),
  security: z.array(z.record(z.string(), z.array(z.string()))).default([]),
  parameters: z
    .array(
      z.looseObject({
        name: z.string(),
        in: z.string(),
        required: z.boolean().optional(),
        description: z.string().optional(),
      }),
    )
    .default([]),
  requestBody: z.object({ content: mediaSchema }).optional(),
});
const documentSchema = z.looseObject({
  info: z.object({ title: z.string(), version: z.string(), description: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), operationSchema)),
});
export type OpenApi = z.infer<typeof documentSchema>;
export type Operation = z.infer<typeof operationSchema>;

export async function openApiDocument({ written }: Configuration): Promise<OpenApi> {
  const { app } = appModule.parse(await import(APP));
  const secrets = Object.fromEntries(SECRET_NAMES.map((name) => [name, "a:0000000000000000"]));
  const answer = await app.request(
    "https://comfy-edge.example.com/openapi.json",
    {},
    { ...written, ...secrets, LOG_LEVEL: "warn" },
  );
  return documentSchema.parse(await answer.json());
}
