/**
 * What the demo draws.
 */
import sharp from "sharp";
import { expect, it } from "vitest";
import { duration, halfBlocks } from "../../../dev/demo/terminal.ts";

it("draws two pixels in one character: the upper as foreground, the lower as background", async () => {
  const pixels = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
  const png = await sharp(pixels, { raw: { width: 2, height: 2, channels: 3 } })
    .resize({ width: 16, height: 16, kernel: "nearest" })
    .png()
    .toBuffer();
  const rows = (await halfBlocks(png, 20)).split("\n");
  expect(rows).toHaveLength(8);
  expect(rows[0]?.startsWith("  \x1b[38;2;255;0;0m\x1b[48;2;255;0;0m▀")).toBe(true);
  expect(rows[7]?.endsWith("\x1b[38;2;9;9;9m\x1b[48;2;9;9;9m▀\x1b[0m")).toBe(true);
});

it("fits a picture into the columns it has and never asks for more than 64", async () => {
  const png = await sharp({ create: { width: 300, height: 200, channels: 3, background: "#123" } })
    .png()
    .toBuffer();
  const width = async (columns: number) => (await halfBlocks(png, columns)).split("\n")[0]?.split("▀").length;
  expect([await width(40), await width(500)]).toEqual([37, 65]);
});

it("says short times in milliseconds and long ones in seconds", () => {
  expect([duration(3.6), duration(999), duration(1940)]).toEqual(["4 ms", "999 ms", "1.9 s"]);
});
