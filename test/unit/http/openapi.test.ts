/**
 * Holds the OpenAPI document to the app: every route is in it and nothing else, it is valid by an independent validator, and it
 * says what it should of every parameter and every error.
 */
import { Validator } from "@seriousme/openapi-schema-validator";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { ERROR_CODES, ERROR_STATUS } from "../../../src/protocol/errors.ts";
import { SAMPLERS, SCHEDULERS } from "../../../src/protocol/sampler-names.ts";

/** Not imported by name: the app is checked against the types of Workers, this test against those of Node. */
const APP = new URL("../../../src/http/app.ts", import.meta.url).href;
type App = {
  routes: { method: string; path: string }[];
  getOpenAPI31Document(config: { openapi: string; info: { title: string; version: string } }): unknown;
};
const appModule = z.object({
  app: z.custom<App>((app) => typeof app === "object" && app !== null && "getOpenAPI31Document" in app),
});

type Content = { "application/json"?: { schema?: unknown; example?: unknown; examples?: Record<string, unknown> } };
type Operation = {
  summary?: string;
  tags?: string[];
  security?: object[];
  requestBody?: { content: Content };
  responses: Record<string, { description: string; content?: Content }>;
};
type Document = {
  paths: Record<string, Record<string, Operation>>;
  components: {
    schemas: Record<string, { example?: unknown; properties: Record<string, Record<string, unknown>> }>;
    examples: object;
  };
};

/** Pages and their files: for people, not for clients. */
const PAGES = /^GET \/(?:docs|live)(?:[./].*)?$/;

let app: App;
let document: Document;
let operations: [string, Operation][];
beforeAll(async () => {
  ({ app } = appModule.parse(await import(APP)));
  const made = app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "Comfy Edge", version: "1.0.0" } });
  document = JSON.parse(JSON.stringify(made));
  operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`,
      operation,
    ]),
  );
});

describe("the document", () => {
  it("names every route of the app, and no other", () => {
    const routed = new Set(
      app.routes
        .filter(({ method }) => method !== "ALL")
        .map(({ method, path }) => `${method} ${path.length > 1 ? path.replace(/\/$/, "") : path}`)
        // The admin routes are served under both roots and described under one.
        .map((route) => route.replace(" /api/v1/admin/", " /admin/"))
        .filter((route) => !PAGES.test(route)),
    );
    const described = operations.map(([route]) => route).filter((route) => !PAGES.test(route));
    expect([...routed].filter((route) => !described.includes(route))).toEqual([]);
    expect(described.filter((route) => !routed.has(route))).toEqual([]);
    expect(described.length).toBeGreaterThan(40);
  });

  it("is valid OpenAPI 3.1, and every reference leads somewhere", async () => {
    expect(await new Validator().validate(structuredClone(document))).toEqual({ valid: true });
    for (const [, section, name] of JSON.stringify(document).matchAll(/"#\/components\/(\w+)\/([^"]+)"/g))
      expect(document.components, `${section}/${name}`).toHaveProperty([String(section), String(name)]);
  });

  it("lists samplers, schedulers and limits as they are enforced", () => {
    const properties = document.components.schemas.CreateJob?.properties;
    expect(properties?.sampler?.enum).toEqual([...SAMPLERS]);
    expect(properties?.scheduler?.enum).toEqual([...SCHEDULERS]);
    expect(properties?.width).toMatchObject({ minimum: 64, maximum: 2048, multipleOf: 8, default: 512 });
    expect(properties?.steps).toMatchObject({ minimum: 1, maximum: 150 });
  });

  it("gives every operation a summary and a tag, and every client body an example", () => {
    for (const [route, { summary, tags, requestBody }] of operations) {
      expect([route, typeof summary, tags?.length]).toEqual([route, "string", 1]);
      const body = requestBody?.content["application/json"];
      if (body !== undefined && / \/api\/v1\/(jobs|generate)/.test(route)) expect(body.example, route).toBeDefined();
    }
  });
});

describe("the examples of answers", () => {
  it("are each in the form that they are an example of, for what clients are answered most", () => {
    const examples = Object.entries(document.components.schemas).flatMap(([name, { example }]) =>
      example === undefined ? [] : [[name, example] as const],
    );
    const names = examples.map(([name]) => name);
    for (const name of ["JobReceipt", "Job", "JobList", "JobEvents", "Usage", "ModelList", "Ticket", "Webhook"])
      expect(names).toContain(name);
    for (const [name, example] of examples) {
      const schema = z.fromJSONSchema({
        $ref: `#/$defs/${name}`,
        $defs: JSON.parse(JSON.stringify(document.components.schemas).replaceAll("#/components/schemas/", "#/$defs/")),
      });
      expect([name, schema.safeParse(example).error?.issues]).toEqual([name, undefined]);
    }
  });
});

describe("errors in the document", () => {
  it("have an example each, under the one status of their code", () => {
    expect(Object.keys(document.components.examples).sort()).toEqual([...ERROR_CODES].sort());
    for (const [route, { responses }] of operations)
      for (const [status, { content }] of Object.entries(responses))
        for (const code of Object.keys(content?.["application/json"]?.examples ?? {}))
          expect([route, code, status]).toEqual([route, code, String(ERROR_STATUS[code as keyof typeof ERROR_STATUS])]);
  });

  it("are all answered by some route, but for the one of paths that have other methods", () => {
    const used = new Set(
      operations.flatMap(([, { responses }]) =>
        Object.values(responses).flatMap(({ content }) => Object.keys(content?.["application/json"]?.examples ?? {})),
      ),
    );
    expect(ERROR_CODES.filter((code) => !used.has(code))).toEqual(["METHOD_NOT_ALLOWED"]);
  });

  it("name 401 and 429 on every keyed route", () => {
    for (const [route, { security, responses }] of operations)
      if (security !== undefined && security.length > 0) {
        expect(responses, route).toHaveProperty("401");
        expect(responses, route).toHaveProperty("429");
      }
  });
});
