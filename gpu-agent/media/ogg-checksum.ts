/**
 * Owns the checksum of Ogg pages: CRC-32 with polynomial 0x04c11db7, unreflected, from 0.
 * Invariant: as RFC 3533 has it; the page's own checksum counts as zero.
 */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let r = n << 24;
  for (let bit = 0; bit < 8; bit++) r = (r & 0x80000000) === 0 ? r << 1 : (r << 1) ^ 0x04c11db7;
  return r >>> 0;
});

export function oggChecksum(parts: readonly Buffer[]): number {
  let crc = 0;
  for (const part of parts) for (const byte of part) crc = ((crc << 8) ^ (TABLE[(crc >>> 24) ^ byte] ?? 0)) >>> 0;
  return crc;
}
