/**
 * Owns a real browser for tests: the Chromium or Chrome that is installed, headless, on a fresh profile.
 * Invariant: it resolves no name and reaches nothing but 127.0.0.1; what a page logs, throws or asks for elsewhere is kept.
 */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
];

/** Where a browser is installed; null: nowhere. */
export function browserPath(): string | null {
  const { CHROME_PATH } = process.env;
  return [...(CHROME_PATH ? [CHROME_PATH] : []), ...PLACES].find((path) => existsSync(path)) ?? null;
}

export function openBrowser(): Promise<Browser> {
  const executablePath = browserPath();
  if (executablePath === null) throw new Error("no browser is installed");
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  ];
  return chromium.launch({ executablePath, headless: true, args });
}

export type Visit = {
  readonly page: Page;
  /** Errors the page logged or threw, and requests to any other host. */
  readonly complaints: string[];
};

export async function newVisit(browser: Browser, options: BrowserContextOptions = {}): Promise<Visit> {
  const page = await (await browser.newContext(options)).newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== "blob:" && hostname !== "127.0.0.1") complaints.push(`asked ${request.url()}`);
  });
  return { page, complaints };
}
