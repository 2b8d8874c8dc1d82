import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dispositionOf, extensionOf, keyNumbers, storedContentType } from "../../../src/platform/stored-content.ts";
import { artifactKey } from "../../../src/protocol/bucket-keys.ts";

const file = {
  name: "ComfyUI_00001_.png",
  type: "image" as const,
  content_type: "image/png",
  size_bytes: 4_096,
  md5: "0".repeat(32),
  sha256: "1".repeat(64),
};

describe("the stored content type", () => {
  it("is what was claimed for pictures, films, sound, plain text and models", () => {
    for (const type of ["image/png", "video/mp4", "audio/flac", "text/plain", "model/gltf-binary"])
      expect(storedContentType(type)).toBe(type);
  });

  it("B139: is octet-stream for anything a browser might run, and for names every object inherits", () => {
    const risky = ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/javascript"];
    for (const type of [...risky, "application/pdf", "constructor", "__proto__", ""])
      expect(storedContentType(type)).toBe("application/octet-stream");
    expect(extensionOf("application/octet-stream")).toBe("bin");
    expect(extensionOf("image/jpeg")).toBe("jpg");
  });
});

describe("the stored disposition", () => {
  it("shows pictures in the page and offers everything else as a download", () => {
    expect(dispositionOf("cat.png", "image/png")).toBe('inline; filename="cat.png"');
    expect(dispositionOf("out.latent", "application/octet-stream")).toBe('attachment; filename="out.latent"');
    expect(dispositionOf("notes.txt", "text/plain")).toBe('attachment; filename="notes.txt"');
  });

  it("keeps a foreign name beside a plain one", () => {
    expect(dispositionOf("kätzchen (1).png", "image/png")).toBe(
      "inline; filename=\"k_tzchen _1_.png\"; filename*=UTF-8''k%C3%A4tzchen%20%281%29.png",
    );
  });

  it("drops folders, leading dots, quotes and line breaks", () => {
    expect(dispositionOf("../../etc/passwd", "image/png")).toBe('inline; filename="passwd"');
    expect(dispositionOf("..\\.htaccess", "image/png")).toBe('inline; filename="htaccess"');
    expect(dispositionOf('a"; filename="b.exe', "image/png")).toBe('inline; filename="a__ filename__b.exe"');
    expect(dispositionOf("", "image/png")).toBe('inline; filename="file"');
  });

  it("B138: is one header line of visible ASCII under 1,100 characters, whatever the name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 255 }), (name) => {
        const text = dispositionOf(name, "image/png");
        expect(text).toMatch(/^inline; filename="[A-Za-z0-9._ -]+"(; filename\*=UTF-8''[A-Za-z0-9%._~-]*)?$/);
        expect(text.length).toBeLessThan(1_100);
      }),
    );
  });
});

describe("the number in a file's key", () => {
  it("is the same whenever the same file is asked for, alone or among others", () => {
    const other = { ...file, sha256: "2".repeat(64) };
    const [alone] = keyNumbers([file]);
    expect(keyNumbers([other, file])[1]).toBe(alone);
  });

  it("is another one for another content, type, size or name, so no later call can meet an earlier file", () => {
    const variants = [
      file,
      { ...file, sha256: "2".repeat(64) },
      { ...file, md5: "2".repeat(32) },
      { ...file, size_bytes: 4_097 },
      { ...file, content_type: "image/webp" },
      { ...file, name: "ComfyUI_00002_.png" },
    ];
    expect(new Set(variants.map((v) => keyNumbers([v])[0])).size).toBe(variants.length);
  });

  it("tells equal files of one request apart, since a manifest names each key once", () => {
    const numbers = keyNumbers([file, file, file]);
    expect(new Set(numbers).size).toBe(3);
    expect(keyNumbers([file, file, file])).toEqual(numbers);
  });

  it("is an exact integer that makes a legal key", () => {
    for (const n of keyNumbers([file, { ...file, name: "x" }])) {
      expect(Number.isSafeInteger(n)).toBe(true);
      expect(artifactKey("a7/x/y/1-n", n, "png")).toMatch(/^a7\/x\/y\/1-n\/\d{1,15}\.png$/);
    }
  });
});
