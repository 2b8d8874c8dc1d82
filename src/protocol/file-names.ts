/**
 * Owns what a name of a file below ComfyUI's own folders may be, wherever a client gives one.
 * Invariant: no name climbs out of its folder, is absolute, or carries ComfyUI's `[output]` annotation, which on a shared
 * machine would read what another account's job wrote.
 */

export const MAX_FILE_NAME = 255;

const ANNOTATION = /\[(?:input|output|temp)\]\s*$/i;
const ABSOLUTE = /^(?:[/\\~]|[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*:\/\/)/;
/** A name may have folders, with either separator: ComfyUI on Windows lists its models with backslashes. */
const CLIMBS = /(?:^|[/\\])\.\.(?:[/\\]|$)/;
/** Control characters, and those that turn or hide what stands beside them. */
const UNPRINTABLE = /[\p{Cc}\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/u;

/** True for a plain name of 1 to 255 characters, folders allowed. */
export function isPlainFileName(name: string): boolean {
  if (name.length === 0 || name.length > MAX_FILE_NAME || ANNOTATION.test(name)) return false;
  return !ABSOLUTE.test(name) && !CLIMBS.test(name) && !UNPRINTABLE.test(name);
}
