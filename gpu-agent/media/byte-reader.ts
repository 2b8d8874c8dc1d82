/**
 * Owns reading a stream of bytes in pieces of asked-for size, for the parsers of media formats.
 * Invariant: memory holds one chunk and what was peeked; a stream that ends inside a promised piece throws BrokenMedia.
 */

/** The file contradicts its own format, or ends too early: never published. */
export class BrokenMedia extends Error {
  constructor(what: string) {
    super(`broken file: ${what}`);
    this.name = "BrokenMedia";
  }
}

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Up to `n` bytes without consuming them; fewer only at the end. */
  async peek(n: number): Promise<Buffer> {
    const parts = [this.#held];
    let length = this.#held.length;
    while (length < n && !this.#ended) {
      const { done, value } = await this.#source.next();
      if (done) this.#ended = true;
      else {
        const part = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
        parts.push(part);
        length += part.length;
      }
    }
    if (parts.length > 1) this.#held = Buffer.concat(parts);
    return this.#held.subarray(0, n);
  }

  async take(n: number): Promise<Buffer> {
    const bytes = await this.peek(n);
    if (bytes.length < n) throw new BrokenMedia("it ends too early");
    this.#held = this.#held.subarray(n);
    return bytes;
  }

  /** The next `n` bytes as they come. */
  async *pass(n: number): AsyncGenerator<Buffer> {
    for (let left = n; left > 0; ) {
      if ((await this.peek(1)).length === 0) throw new BrokenMedia("it ends too early");
      const part = this.#held.subarray(0, left);
      this.#held = this.#held.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  async skip(n: number): Promise<void> {
    for await (const _ of this.pass(n));
  }

  /** As many zero bytes as the next `n` bytes, which are read and dropped. */
  async *blank(n: number): AsyncGenerator<Buffer> {
    for await (const part of this.pass(n)) yield Buffer.alloc(part.length);
  }

  /** Everything that is left. */
  async *rest(): AsyncGenerator<Buffer> {
    while ((await this.peek(1)).length > 0) {
      const part = this.#held;
      this.#held = Buffer.alloc(0);
      yield part;
    }
  }
}
