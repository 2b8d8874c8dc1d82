/**
 * Owns small MP4 files: JPEG frames in a QuickTime-style container, no sound.
 * Invariant: sizes and offsets inside agree with the bytes, so that players and sniffers take it for a video.
 */

const SCALE = 1000;

function box(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([words(body.length + 8), Buffer.from(type, "latin1"), body]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value >>> 0, index * 4);
  });
  return bytes;
}

function halves(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, index) => {
    bytes.writeUInt16BE(value, index * 2);
  });
  return bytes;
}

const MATRIX = words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);

export type Movie = { width: number; height: number; fps: number; jpegs: Buffer[] };

/** All frames in one chunk behind the header. */
export function encodeMp4(movie: Movie): Buffer {
  const type = box("ftyp", Buffer.from("isom", "latin1"), words(512), Buffer.from("isomiso2mp41", "latin1"));
  const size = header(movie, 0).length;
  const start = type.length + size + 8;
  return Buffer.concat([type, header(movie, start), box("mdat", ...movie.jpegs)]);
}

function header(movie: Movie, start: number): Buffer {
  const frameTime = Math.max(1, Math.round(SCALE / movie.fps));
  const duration = frameTime * movie.jpegs.length;
  const movieHeader = box(
    "mvhd",
    words(0, 0, 0, SCALE, duration, 0x10000),
    halves(0x100, 0),
    words(0, 0),
    MATRIX,
    words(0, 0, 0, 0, 0, 0, 2),
  );
  const trackHeader = box(
    "tkhd",
    words(3, 0, 0, 1, 0, duration, 0, 0),
    halves(0, 0, 0, 0),
    MATRIX,
    words(movie.width << 16, movie.height << 16),
  );
  const mediaHeader = box("mdhd", words(0, 0, 0, SCALE, duration), halves(0x55c4, 0));
  const handler = box(
    "hdlr",
    words(0, 0),
    Buffer.from("vide", "latin1"),
    words(0, 0, 0),
    Buffer.from("VideoHandler\0", "latin1"),
  );
  const source = box("dinf", box("dref", words(0, 1), box("url ", words(1))));
  const info = box("minf", box("vmhd", words(1), halves(0, 0, 0, 0)), source, sampleTable(movie, frameTime, start));
  return box("moov", movieHeader, box("trak", trackHeader, box("mdia", mediaHeader, handler, info)));
}

function sampleTable({ width, height, jpegs }: Movie, frameTime: number, start: number): Buffer {
  const entry = box(
    "jpeg",
    words(0),
    halves(0, 1),
    words(0, 0, 0, 0),
    halves(width, height),
    words(0x480000, 0x480000, 0),
    halves(1),
    Buffer.alloc(32),
    halves(24, 0xffff),
  );
  return box(
    "stbl",
    box("stsd", words(0, 1), entry),
    box("stts", words(0, 1, jpegs.length, frameTime)),
    box("stsc", words(0, 1, 1, jpegs.length, 1)),
    box("stsz", words(0, 0, jpegs.length), words(...jpegs.map((jpeg) => jpeg.length))),
    box("stco", words(0, 1, start)),
  );
}
