/**
 * Owns multipart bodies as the recordings describe them.
 */
import { isMap, type JsonMap, numberOf, textAt } from "../../../gpu-agent/simulator/python-json.ts";

const BOUNDARY = "recorded-boundary-7f3a";

export function multipartOf(fields: JsonMap): { bytes: Buffer; type: string } {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    const file = isMap(value) ? value : null;
    const filename = file ? `; filename="${textAt(file, "filename") ?? ""}"` : "";
    const type = file ? `\r\nContent-Type: ${textAt(file, "content_type") ?? "application/octet-stream"}` : "";
    parts.push(
      Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${filename}${type}\r\n\r\n`),
    );
    parts.push(file ? contentOf(file) : Buffer.from(String(value)), Buffer.from("\r\n"));
  }
  parts.push(Buffer.from(`--${BOUNDARY}--\r\n`));
  return { bytes: Buffer.concat(parts), type: `multipart/form-data; boundary=${BOUNDARY}` };
}

/** The bytes, or as many of no meaning as there were. */
function contentOf(file: JsonMap): Buffer {
  const base64 = textAt(file, "base64");
  return base64 === null ? Buffer.alloc(numberOf(file.get("length")) ?? 4, "x") : Buffer.from(base64, "base64");
}
