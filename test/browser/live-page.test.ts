/**
 * The live page at /demo/<job> in a real browser, on the whole system: what a person sees of a job while it runs.
 */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { browserPath, newVisit, openBrowser } from "../support/browser.ts";
import { picture } from "../support/client.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { SKIP_REASONS } from "../support/skip-reasons.ts";
import { startWire } from "../support/wire.ts";

const isHere = browserPath() !== null;

/** Keeps what the page makes of the job: each value of the bar, and each preview's bytes. Nothing of the page is replaced. */
function record() {
  const seen = { bar: [] as number[], previews: [] as Blob[], links: [] as string[] };
  Object.assign(window, { seen });
  const make = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (blob: Blob) => {
    seen.previews.push(blob);
    return make(blob);
  };
  new MutationObserver(() => {
    const bar = document.getElementById("bar")?.getAttribute("aria-valuenow") ?? null;
    if (bar !== null && seen.bar.at(-1) !== Number(bar)) seen.bar.push(Number(bar));
    const link = document.getElementById("link")?.dataset.state ?? "idle";
    if (link !== "idle" && seen.links.at(-1) !== link) seen.links.push(link);
  }).observe(document, { subtree: true, attributes: true, childList: true });
}

/** How far each preview is from the finished picture: mean difference of a colour, 0..255. */
async function distances() {
  const { previews } = (window as unknown as { seen: { previews: Blob[] } }).seen;
  const pixels = async (source: ImageBitmapSource) => {
    const context = new OffscreenCanvas(64, 64).getContext("2d");
    context?.drawImage(await createImageBitmap(source), 0, 0, 64, 64);
    return context?.getImageData(0, 0, 64, 64).data ?? new Uint8ClampedArray();
  };
  const finished = await pixels(document.getElementById("picture") as HTMLImageElement);
  const far = async (preview: Blob) => {
    const data = await pixels(preview);
    return data.reduce((sum, value, n) => sum + Math.abs(value - (finished[n] ?? 0)), 0) / data.length;
  };
  return Promise.all(previews.map(far));
}

const seenSchema = z.object({ bar: z.array(z.number()), links: z.array(z.string()) });
const seenBy = async (page: Page) =>
  seenSchema.parse(await page.evaluate(() => JSON.parse(JSON.stringify(Reflect.get(window, "seen")))));
const shows = (page: Page, text: string | RegExp) => page.getByRole("heading", { name: text }).waitFor();
const barBeyond = (page: Page, percent: number) =>
  page.waitForFunction(
    (least) => Number(document.getElementById("bar")?.getAttribute("aria-valuenow")) > least,
    percent,
  );

describe.skipIf(!isHere)(isHere ? "the live page" : `the live page, skipped: ${SKIP_REASONS.noBrowser}`, () => {
  let flow: FlowStack;
  let browser: Browser;
  const submit = (steps: number, seed: number) => flow.client.submit(picture({ steps, seed }));
  const address = (job: string, fragment = `#key=${flow.file.user_key}`) =>
    `${flow.file.api_url}/demo/${job}${fragment}`;

  beforeAll(async () => {
    [flow, browser] = await Promise.all([startFlowStack({ stepMs: 60, previews: true }), openBrowser()]);
  });
  afterAll(async () => {
    await browser?.close();
    await flow?.stop();
  });

  it("moves its bar, refines the preview, and shows the picture", async () => {
    const { page, complaints } = await newVisit(browser);
    await page.addInitScript(record);
    const { job_id } = await submit(40, 1);
    await page.goto(address(job_id));
    await page.getByRole("progressbar", { name: "Progress of the job" }).waitFor();
    await page.getByText("a red kite over dunes").waitFor();
    await page.getByAltText("The finished picture: a red kite over dunes").waitFor();
    await shows(page, /^Done in /);
    // Shown only when it is there as a whole.
    await page.locator('#result[data-shown="true"]').waitFor();
    const { bar } = await seenBy(page);
    expect(bar).toEqual([...bar].sort((a, b) => a - b));
    expect(new Set(bar).size).toBeGreaterThan(5);
    expect(bar.at(-1)).toBe(100);
    const far = await page.evaluate(distances);
    expect(far.length).toBeGreaterThan(2);
    expect(far.at(-1)).toBeLessThan((far[0] ?? 0) / 2);
    expect(new URL(page.url()).hash).toBe("");
    expect(complaints).toEqual([]);
  });

  it("goes on where it was when it is reloaded in mid-run", async () => {
    const { page, complaints } = await newVisit(browser);
    await page.addInitScript(record);
    const { job_id } = await submit(60, 2);
    await page.goto(address(job_id));
    await barBeyond(page, 20);
    const before = Math.max(...(await seenBy(page)).bar);
    await page.reload();
    await barBeyond(page, before);
    await page.locator("#preview:not([hidden])").waitFor();
    await shows(page, /^Done in /);
    expect(complaints).toEqual([]);
  });

  it("needs but a ticket, and goes on by it after a reload, also where the first answers are an outage's", async () => {
    const { page } = await newVisit(browser);
    const { job_id } = await submit(50, 3);
    const made = await flow.client.call("POST", `/api/v1/jobs/${job_id}/ticket`);
    const { ticket } = z.object({ ticket: z.string() }).parse(made.body);
    await page.goto(address(job_id, `#ticket=${ticket}`));
    await barBeyond(page, 10);
    await page.route(/\/events\?ticket=/, (route) => route.fulfill({ status: 503, body: "{}" }), { times: 3 });
    await page.reload();
    await page.getByText("Connection lost, trying again…").waitFor();
    await barBeyond(page, 15);
    await page.getByAltText("The finished picture").waitFor();
    const second = await newVisit(browser);
    await second.page.goto(address(job_id, `#ticket=${ticket}`));
    await second.page.getByText("This link is used up.").waitFor();
  });

  it("says that the connection is lost, and is live again when it is back", async () => {
    const wire = await startWire(flow.file.api_url);
    const { page } = await newVisit(browser);
    await page.addInitScript(record);
    const { job_id } = await submit(60, 4);
    await page.goto(address(job_id).replace(flow.file.api_url, wire.url));
    await barBeyond(page, 10);
    wire.cut(/\/ws\?/);
    await page.getByText("Connection lost, trying again…").waitFor();
    wire.heal();
    await page.getByText("Live", { exact: true }).waitFor();
    await shows(page, /^Done in /);
    const { bar, links } = await seenBy(page);
    expect(bar).toEqual([...bar].sort((a, b) => a - b));
    expect(links).toEqual(["connecting", "live", "lost", "live", "over"]);
    await wire.close();
  });

  it("asks for a key where it has none, tells a wrong one and an unknown job, and cancels", async () => {
    const { page } = await newVisit(browser);
    const { job_id } = await submit(150, 5);
    await page.goto(address("j_000000000000", ""));
    await page.getByLabel("API key").fill("ce_user_nonsense");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("This key is not valid here.").waitFor();
    await page.getByLabel("API key").fill(flow.file.user_key);
    await page.keyboard.press("Enter");
    await shows(page, "There is no such job");
    await page.goto(address(job_id, ""));
    await barBeyond(page, 2);
    await page.getByRole("button", { name: "Cancel job" }).focus();
    await page.keyboard.press("Enter");
    await shows(page, "Canceled");
    // The button that is gone leaves the keyboard where the news is.
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("headline");
    expect((await flow.client.job(job_id)).status).toBe("canceled");
  });

  it("asks whom a service key acts for, then shows that user's job", async () => {
    const headers = { Authorization: `Bearer ${flow.file.service_key}`, "X-User-ID": "customer-1" };
    const answer = await fetch(`${flow.file.api_url}/api/v1/jobs`, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify(picture({ steps: 5, seed: 6 })),
    });
    const { job_id } = z.object({ job_id: z.string() }).parse(await answer.json());
    const { page } = await newVisit(browser);
    await page.goto(address(job_id, `#key=${flow.file.service_key}`));
    await page.getByRole("alert").getByText("A service key acts for one of your users").waitFor();
    await page.getByLabel("User the service key acts for").fill("customer-1");
    await page.keyboard.press("Enter");
    await page.getByAltText("The finished picture: a red kite over dunes").waitFor();
    await page.reload();
    await shows(page, /^Done in /);
  });
});
