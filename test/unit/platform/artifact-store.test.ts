/**
 * Signed URLs against the local S3 endpoint, which checks signatures as R2 does: what an agent's PUT and a client's GET meet.
 */
import "../../../dev/stack/telemetry-off.ts";
import { createHash } from "node:crypto";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bucket,
  readSeen,
  type SignedUpload,
  type StoreSettings,
  signDownload,
  signUpload,
} from "../../../src/platform/artifact-store.ts";
import { dispositionOf } from "../../../src/platform/stored-content.ts";

const BUCKET = "comfy-edge-artifacts";
const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "local-secret" };
const body = Buffer.from("bytes of a picture");
const md5 = createHash("md5").update(body).digest("hex");
const disposition = dispositionOf("a cät.png", "image/png");
const spec = { content_type: "image/png", size_bytes: body.length, md5, disposition };

let miniflare: Miniflare;
let bucket: Bucket;
let settings: StoreSettings;

beforeAll(async () => {
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default { fetch: () => new Response(null, { status: 404 }) }",
      compatibilityDate: "2026-10-20",
      cf: false,
      telemetry: { enabled: false },
      r2Buckets: { ARTIFACTS: { id: BUCKET, s3Credentials: CREDENTIALS } },
    }),
  );
  const { origin } = await miniflare.ready;
  bucket = await miniflare.getR2Bucket("ARTIFACTS");
  settings = {
    R2_ENDPOINT: `${origin}/cdn-cgi/local/r2/s3`,
    R2_BUCKET: BUCKET,
    R2_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    R2_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  };
});
afterAll(() => miniflare?.dispose());

async function put({ url, headers }: SignedUpload, bytes: Uint8Array<ArrayBuffer> = body): Promise<number> {
  const response = await fetch(url, { method: "PUT", headers, body: bytes });
  await response.body?.cancel();
  return response.status;
}

function without({ url, headers }: SignedUpload, name: string): SignedUpload {
  return { url, headers: Object.fromEntries(Object.entries(headers).filter(([n]) => n !== name)) };
}

const seenNothing = (key: string) => ({ key, size_bytes: null, md5: null });

describe("an upload URL", () => {
  it("I31: writes its key once: a second PUT is 412 and the bucket reports the first one's size and MD5", async () => {
    const signed = await signUpload(settings, "a7/x/1-n/1.png", spec, Date.now());
    expect(await put(signed)).toBe(200);
    expect(await put(signed)).toBe(412);
    expect(await readSeen(bucket, ["a7/x/1-n/1.png", "a7/x/1-n/2.png"])).toEqual([
      { key: "a7/x/1-n/1.png", size_bytes: body.length, md5 },
      seenNothing("a7/x/1-n/2.png"),
    ]);
  });

  it("takes no other bytes than those whose length and MD5 were signed", async () => {
    const key = "a7/x/1-n/3.png";
    const signed = await signUpload(settings, key, spec, Date.now());
    const sameLength = Buffer.from("bytes of a pictura");
    expect(await put(signed, sameLength)).toBeGreaterThanOrEqual(400);
    const longer = Buffer.concat([body, body]);
    const relabeled = { ...signed, headers: { ...signed.headers, "content-length": String(longer.length) } };
    expect(await put(relabeled, longer)).toBe(403);
    expect(await readSeen(bucket, [key])).toEqual([seenNothing(key)]);
  });

  it("is refused when a signed header is left out or changed", async () => {
    const key = "a7/x/1-n/4.png";
    const signed = await signUpload(settings, key, spec, Date.now());
    expect(await put(without(signed, "if-none-match"))).toBe(403);
    expect(await put(without(signed, "content-md5"))).toBe(403);
    expect(await put({ ...signed, headers: { ...signed.headers, "content-type": "text/html" } })).toBe(403);
    expect(await put({ ...signed, headers: { ...signed.headers, "content-disposition": "inline" } })).toBe(403);
    expect(await readSeen(bucket, [key])).toEqual([seenNothing(key)]);
  });

  it("is refused 15 minutes after it was signed, long before the attempt's objects may be deleted", async () => {
    const key = "a7/x/1-n/8.png";
    const nowMs = Date.now();
    expect(await put(await signUpload(settings, key, spec, nowMs - 902_000))).toBe(403);
    expect(await put(await signUpload(settings, key, spec, nowMs - 880_000))).toBe(200);
  });

  it("writes an empty file, too", async () => {
    const empty = { ...spec, size_bytes: 0, md5: createHash("md5").digest("hex") };
    const signed = await signUpload(settings, "a7/x/1-n/5.bin", empty, Date.now());
    expect(await put(signed, Buffer.alloc(0))).toBe(200);
    const [seen] = await readSeen(bucket, ["a7/x/1-n/5.bin"]);
    expect(seen?.size_bytes).toBe(0);
  });
});

describe("a download URL", () => {
  it("serves the bytes with the stored type and disposition, and says when it ends", async () => {
    const key = "a7/x/1-n/6.png";
    await put(await signUpload(settings, key, spec, Date.now()));
    const nowMs = Date.now();
    const { url, expires_at_ms } = await signDownload(settings, key, 3600, nowMs);
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(response.headers.get("content-disposition")).toBe(disposition);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(body);
    expect(expires_at_ms).toBe((Math.floor(nowMs / 1000) + 3600) * 1000);
  });

  it("I33: is refused when any character of it is another one, and with a parameter more", async () => {
    const key = "a7/x/1-n/8.png";
    await put(await signUpload(settings, key, spec, Date.now()));
    const { url } = await signDownload(settings, key, 60, Date.now());
    const start = url.indexOf(BUCKET);
    const changed = Array.from({ length: url.length - start }, (_, i) => start + i)
      .filter((at) => /[0-9a-zA-Z]/.test(url.charAt(at)))
      .map((at) => url.slice(0, at) + (url.charAt(at) === "1" ? "2" : "1") + url.slice(at + 1));
    const answers = await Promise.all([...changed, `${url}&x=1`].map(async (one) => (await fetch(one)).status));
    expect(answers.filter((status) => status === 200)).toEqual([]);
    expect((await fetch(url)).status).toBe(200);
  });

  it("serves a part of the bytes when asked for one", async () => {
    const key = "a7/x/1-n/6.png";
    await put(await signUpload(settings, key, spec, Date.now()));
    const { url } = await signDownload(settings, key, 60, Date.now());
    const part = await fetch(url, { headers: { Range: "bytes=6-7" } });
    expect({ status: part.status, range: part.headers.get("content-range"), text: await part.text() }).toEqual({
      status: 206,
      range: `bytes 6-7/${body.length}`,
      text: "of",
    });
  });

  it("is refused after its end, for another key, and for another method", async () => {
    const key = "a7/x/1-n/7.png";
    await put(await signUpload(settings, key, spec, Date.now()));
    const ended = await signDownload(settings, key, 60, Date.now() - 120_000);
    expect((await fetch(ended.url)).status).toBe(403);
    const { url } = await signDownload(settings, key, 60, Date.now());
    expect((await fetch(url.replace("7.png", "1.png"))).status).toBe(403);
    expect((await fetch(url, { method: "PUT", body: "x" })).status).toBe(403);
  });
});

describe("reading a manifest's keys from the bucket", () => {
  it("keeps the order asked for and never has more than six questions under way", async () => {
    let under = 0;
    let most = 0;
    const slow: Bucket = {
      async head(key) {
        most = Math.max(most, ++under);
        await new Promise((resolve) => setImmediate(resolve));
        under--;
        return key.endsWith("3") ? null : { size: Number(key), etag: md5, checksums: {} };
      },
    };
    const keys = Array.from({ length: 25 }, (_, i) => String(i));
    const seen = await readSeen(slow, keys);
    expect(seen.map((s) => s.key)).toEqual(keys);
    expect(seen[3]).toEqual(seenNothing("3"));
    expect(seen[4]).toEqual({ key: "4", size_bytes: 4, md5 });
    expect(most).toBe(6);
  });

  it("knows no MD5 of an object that was written in parts", async () => {
    const parts: Bucket = { head: async () => ({ size: 1, etag: `${md5}-3`, checksums: {} }) };
    expect(await readSeen(parts, ["k"])).toEqual([{ key: "k", size_bytes: 1, md5: null }]);
  });

  it("fails as a whole when the bucket does not answer", async () => {
    const down: Bucket = { head: () => Promise.reject(new Error("R2 is down")) };
    await expect(readSeen(down, ["a", "b"])).rejects.toThrow("R2 is down");
  });
});
