/**
 * Owns the bucket as the Worker uses it: signed download and upload URLs, and what lies there when a manifest is committed.
 * Invariant: an upload URL writes one key once, with exactly the length, type, MD5 and disposition that were signed.
 *
 * URLs are signed for the S3 endpoint (path style) without I/O; the key of the day is derived once per isolate.
 */
import { AwsV4Signer } from "aws4fetch";
import type { Settings } from "./env.ts";

export type StoreSettings = Pick<Settings, "R2_ENDPOINT" | "R2_BUCKET" | "R2_ACCESS_KEY_ID" | "R2_SECRET_ACCESS_KEY">;

export type SignedDownload = { url: string; expires_at_ms: number };
export type UploadSpec = { content_type: string; size_bytes: number /** Hex. */; md5: string; disposition: string };
/** The headers are signed: a PUT without exactly these is 403, a second one 412. */
export type SignedUpload = { url: string; headers: { [name: string]: string } };

/** What the bucket holds under a key; `size_bytes` null: nothing. `md5` in hex, null when the bucket does not know it. */
export type Seen =
  | { key: string; size_bytes: number; md5: string | null }
  | { key: string; size_bytes: null; md5: null };

/** S3's own limits on the life of a signed URL. */
const MIN_TTL_S = 1;
const MAX_TTL_S = 604_800;
/** Checked when a PUT begins. Short of the hour after which a refused attempt's objects are deleted: nothing comes after. */
const UPLOAD_TTL_S = 900;
/** Simultaneous connections a Worker may hold. */
const HEADS_AT_ONCE = 6;

/** Derived signing keys, by secret and day: aws4fetch fills it, four HMACs saved per URL. */
const signingKeys = new Map<string, ArrayBuffer>();
/** Days and secrets remembered before the memory starts over. */
const MAX_SIGNING_KEYS = 16;

/** A URL that reads `key` for `ttl_s` seconds (1 to 604,800) from `nowMs`. */
export async function signDownload(
  settings: StoreSettings,
  key: string,
  ttl_s: number,
  nowMs: number,
): Promise<SignedDownload> {
  const ttl = Math.min(MAX_TTL_S, Math.max(MIN_TTL_S, Math.floor(ttl_s)));
  const url = await sign(settings, key, "GET", {}, ttl, nowMs);
  // The signature's clock has whole seconds: the URL dies at the end of the second it was cut to.
  return { url, expires_at_ms: (Math.floor(nowMs / 1000) + ttl) * 1000 };
}

/** A URL that writes `key` once. */
export async function signUpload(
  settings: StoreSettings,
  key: string,
  spec: UploadSpec,
  nowMs: number,
): Promise<SignedUpload> {
  const headers = {
    "content-type": spec.content_type,
    "content-length": String(spec.size_bytes),
    "content-md5": base64OfHex(spec.md5),
    "content-disposition": spec.disposition,
    "if-none-match": "*",
  };
  return { url: await sign(settings, key, "PUT", headers, UPLOAD_TTL_S, nowMs), headers };
}

async function sign(
  settings: StoreSettings,
  key: string,
  method: "GET" | "PUT",
  headers: { [name: string]: string },
  ttl_s: number,
  nowMs: number,
): Promise<string> {
  if (signingKeys.size > MAX_SIGNING_KEYS) signingKeys.clear();
  const signer = new AwsV4Signer({
    method,
    url: `${settings.R2_ENDPOINT}/${settings.R2_BUCKET}/${key}?X-Amz-Expires=${ttl_s}`,
    headers,
    accessKeyId: settings.R2_ACCESS_KEY_ID,
    secretAccessKey: settings.R2_SECRET_ACCESS_KEY,
    service: "s3",
    region: "auto",
    cache: signingKeys,
    datetime: new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    signQuery: true,
    allHeaders: true,
  });
  return (await signer.sign()).url.toString();
}

/** What is asked of the bucket's binding: an R2Bucket is one. */
export type Bucket = { head(key: string): Promise<StoredObject | null> };
type StoredObject = {
  readonly size: number;
  readonly etag: string;
  readonly checksums: { readonly md5?: ArrayBuffer };
};

/** Asks the bucket for each key, six at a time, in the order given. Throws when the bucket does not answer. */
export async function readSeen(bucket: Bucket, keys: readonly string[]): Promise<Seen[]> {
  const seen: Seen[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < keys.length; i = next++) {
      const key = keys[i];
      if (key !== undefined) seen[i] = seenOf(key, await bucket.head(key));
    }
  };
  await Promise.all(Array.from({ length: Math.min(HEADS_AT_ONCE, keys.length) }, work));
  return seen;
}

function seenOf(key: string, object: StoredObject | null): Seen {
  if (object === null) return { key, size_bytes: null, md5: null };
  const md5 = object.checksums.md5;
  return { key, size_bytes: object.size, md5: md5 === undefined ? md5OfEtag(object.etag) : hexOf(md5) };
}

/** The ETag of a single PUT is its MD5; that of a multipart upload is not, and says so by its dash. */
function md5OfEtag(etag: string): string | null {
  return /^[0-9a-f]{32}$/.test(etag) ? etag : null;
}

function hexOf(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64OfHex(hex: string): string {
  const bytes = hex.match(/../g) ?? [];
  return btoa(bytes.map((pair) => String.fromCharCode(Number.parseInt(pair, 16))).join(""));
}
