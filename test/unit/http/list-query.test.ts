/**
 * Holds `http/list-query` to its promise: a wrong parameter is named, nothing is guessed.
 */
import { describe, expect, it } from "vitest";
import { listQuery } from "../../../src/http/list-query.ts";

describe("listQuery", () => {
  it("asks for the 20 newest jobs when nothing is said", () => {
    expect(listQuery({})).toEqual({
      ok: true,
      value: {
        status: null,
        limit: 20,
        cursor: null,
        offset: 0,
        created_after_ms: null,
        created_before_ms: null,
        template: null,
        metadata: {},
      },
    });
  });

  it("reads every filter, the other spelling of canceled, and leaves strangers alone", () => {
    const query = {
      status: ["running,cancelled"],
      limit: ["200"],
      cursor: ["j_0123456789ab"],
      offset: ["40"],
      created_after: ["2026-10-20T12:00:00Z"],
      created_before: ["2026-10-20T14:00:00.500+02:00"],
      template: ["portrait"],
      "metadata.project": ["a=b"],
      _: ["1"],
    };
    expect(listQuery(query)).toEqual({
      ok: true,
      value: {
        status: ["running", "canceled"],
        limit: 200,
        cursor: "j_0123456789ab",
        offset: 40,
        created_after_ms: Date.UTC(2026, 9, 20, 12),
        created_before_ms: Date.UTC(2026, 9, 20, 12, 0, 0, 500),
        template: "portrait",
        metadata: { project: "a=b" },
      },
    });
  });

  it.each([
    ["limit", "-1"],
    ["limit", "0"],
    ["limit", "201"],
    ["limit", "1e9"],
    ["limit", "abc"],
    ["limit", ""],
    ["offset", "-1"],
    ["offset", "10001"],
    ["cursor", "j_0123456789AB"],
    ["cursor", "l_forged"],
    ["status", "done"],
    ["status", ""],
    ["created_after", "yesterday"],
    ["created_after", "2026-13-01T00:00:00Z"],
    ["created_before", "1700000000"],
    ["metadata.", "x"],
    ["metadata.__proto__", "x"],
  ])("refuses %s=%s as BAD_REQUEST naming it", (field, value) => {
    expect(listQuery({ [field]: [value] })).toMatchObject({
      ok: false,
      refusal: { code: "BAD_REQUEST", details: { field } },
    });
  });

  it("takes as many metadata filters as a job has pairs, and refuses one more", () => {
    const filters = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`metadata.k${i}`, ["v"]]));
    expect(listQuery(filters(16))).toMatchObject({ ok: true });
    const refused = { ok: false, refusal: { code: "BAD_REQUEST", details: { field: "metadata" } } };
    expect(listQuery(filters(17))).toMatchObject(refused);
  });

  it("refuses a parameter given twice", () => {
    expect(listQuery({ limit: ["1", "2"] })).toMatchObject({ ok: false, refusal: { details: { field: "limit" } } });
  });
});
