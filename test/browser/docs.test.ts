/**
 * The explorer at /docs in a real browser: the whole document on one page, from our own files, and a form that truly submits.
 */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { browserPath, newVisit, openBrowser } from "../support/browser.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { SKIP_REASONS } from "../support/skip-reasons.ts";

const isHere = browserPath() !== null;
const pathsSchema = z.object({ paths: z.record(z.string(), z.record(z.string(), z.object({ summary: z.string() }))) });

describe.skipIf(!isHere)(isHere ? "the explorer" : `the explorer, skipped: ${SKIP_REASONS.noBrowser}`, () => {
  let flow: FlowStack;
  let browser: Browser;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    [flow, browser] = await Promise.all([startFlowStack({ agents: 0 }), openBrowser()]);
    ({ page, complaints } = await newVisit(browser));
    await page.goto(`${flow.file.api_url}/docs`);
    await page.locator("details.route").first().waitFor();
  });
  afterAll(async () => {
    await browser?.close();
    await flow?.stop();
  });

  it("shows every operation of the document, grouped, and says what it does", async () => {
    const { paths } = pathsSchema.parse((await flow.client.call("GET", "/openapi.json")).body);
    const expected = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const shown = await page
      .locator("details.route > summary")
      .evaluateAll((all) =>
        all.map((one) => `${one.querySelector(".method")?.textContent} ${one.querySelector("code")?.textContent}`),
      );
    expect(shown.sort()).toEqual(expected.sort());
    expect(await page.locator("section > h2").count()).toBeGreaterThan(5);
    const closed = page.locator("details.route:not([open])");
    for (const summary of ["Submit a job", "Cancel a job"])
      expect(await closed.getByText(summary).count()).toBeGreaterThan(0);
  });

  it("submits a job by its form with the key that was typed in, and shows the answer", async () => {
    await page.locator("#key").fill(flow.file.user_key);
    const route = page.locator("#post-api-v1-jobs");
    await route.locator("summary").first().click();
    await route.getByRole("button", { name: "Send" }).click();
    await route.locator("output .status").waitFor();
    expect(await route.locator("output .status").textContent()).toMatch(/^202/);
    const [id] = /j_[0-9a-f]{12}/.exec((await route.locator("output pre").last().textContent()) ?? "") ?? [];
    expect(id).toBeDefined();
    expect(await flow.client.job(id ?? "")).toMatchObject({ status: "queued" });
    await route.getByRole("button", { name: "As curl" }).click();
    const curl = (await route.locator(".try > pre").textContent()) ?? "";
    expect(curl).toContain('-H "Authorization: Bearer $KEY"');
    expect(curl).not.toContain(flow.file.user_key);
  });

  it("narrows down to what is typed, opens what the address names, and asks no other host", async () => {
    await page.locator("#filter").fill("cancel delete");
    expect(await page.locator("nav a:visible").count()).toBe(await page.locator("details.route:visible").count());
    expect(await page.locator("details.route:visible").count()).toBeLessThan(8);
    await page.goto(`${flow.file.api_url}/docs#get-api-v1-usage`);
    await page.locator("#get-api-v1-usage[open]").waitFor();
    expect(complaints).toEqual([]);
  });
});
