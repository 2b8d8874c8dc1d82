/**
 * Holds the frame around every route to its promise: origins, HTTPS, log lines, and the documents.
 */
import { describe, expect, it, vi } from "vitest";
import { as, ORIGIN, person, send, submitted } from "./support/client.ts";

describe("transport", () => {
  it("lets listed origins in, preflight included, and gives others no header", async () => {
    const over = { CORS_ORIGINS: "https://app.example.com, https://other.example.com" };
    const origin = (from: string) => send("/ping", { headers: { Origin: from } }, over);
    const listed = await origin("https://app.example.com");
    expect(listed.headers.get("Access-Control-Allow-Origin")).toBe("https://app.example.com");
    expect(listed.headers.get("Access-Control-Expose-Headers")).toContain("X-Request-ID");
    expect((await origin("https://evil.example.com")).headers.get("Access-Control-Allow-Origin")).toBeNull();
    const headers = { Origin: "https://other.example.com", "Access-Control-Request-Method": "POST" };
    const preflight = await send("/api/v1/jobs", { method: "OPTIONS", headers }, over);
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("Access-Control-Allow-Headers")).toContain("Authorization");
  });

  it("B145, B146: lets no origin in that only looks like a listed one, nor tells its preflight anything", async () => {
    const over = { CORS_ORIGINS: "https://app.example.com" };
    for (const Origin of [
      "https://app.example.com.evil.tld",
      "https://evilapp.example.com",
      "https://app.example.com.",
      "https://app.example.com:8443",
      "http://app.example.com",
      "null",
    ]) {
      const asked = {
        Origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Authorization",
      };
      for (const answer of [
        await send("/ping", { headers: { Origin } }, over),
        await send("/api/v1/jobs", { method: "OPTIONS", headers: asked }, over),
      ]) {
        const told = [...answer.headers.keys()].filter((name) => name.startsWith("access-control-"));
        expect([Origin, told, answer.headers.get("Vary")]).toEqual([Origin, [], "Origin"]);
      }
    }
  });

  it("refuses plain HTTP outside dev, and tells browsers to stay on HTTPS", async () => {
    const over = {
      ENVIRONMENT: "prod",
      R2_SECRET_ACCESS_KEY: "0123456789abcdef0123",
      KEY_MAC_SECRET: "a:0123456789abcdef0123",
      BOOTSTRAP_TOKEN: "0123456789abcdef0123",
      QUEUE_API_TOKEN: "0123456789abcdef0123",
    };
    const plain = await send("/ping", {}, over);
    expect(plain.status).toBe(403);
    const safe = await send("https://api.example.com/ping", {}, over);
    expect(safe.status).toBe(200);
    expect(safe.headers.get("Strict-Transport-Security")).toContain("max-age=");
  });

  it("writes one line per request, with ids and without prompt, query string, key or signed URL", async () => {
    const user = await person();
    const lines: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(line));
    const { job_id } = await submitted(user.key, { prompt: "canary-prompt" }, { "X-Request-ID": "req-log" });
    await send(`/api/v1/jobs/${job_id}?canary=query`, as(user.key));
    vi.restoreAllMocks();
    const [submit, read] = lines.map((line) => JSON.parse(line));
    expect(submit).toMatchObject({ event: "request", request_id: "req-log", method: "POST", status: 202, job: job_id });
    expect(read).toMatchObject({
      account: user.account,
      keyid: user.keyid,
      job: job_id,
      path: `/api/v1/jobs/${job_id}`,
    });
    expect(lines).toHaveLength(2);
    expect(lines.join()).not.toMatch(new RegExp(`canary|${user.key}|X-Amz`));
  });

  it("serves its explorer from its own files alone", async () => {
    const page = await send("/docs");
    expect(page.headers.get("Content-Type")).toContain("text/html");
    expect(page.headers.get("Content-Security-Policy")).toContain("default-src 'self'");
    const named = [...(await page.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => String(path));
    expect(named.length).toBeGreaterThan(1);
    for (const path of named) expect((await send(path)).status, path).toBe(200);
  });

  it("serves the OpenAPI document without a key", async () => {
    const answer = await send("/openapi.json");
    expect(answer.headers.get("Content-Type")).toContain("application/json");
    const document = await answer.json<{ openapi: string; servers: { url: string }[] }>();
    expect([document.openapi, document.servers[0]?.url]).toEqual(["3.1.0", ORIGIN]);
  });
});
