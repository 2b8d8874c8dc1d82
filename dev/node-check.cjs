/*
 * Owns one clear line on a Node that is too old, where otherwise a parse error would stand.
 * Invariant: plain old JavaScript, loaded before anything else. Linux gets its own Node by `npm ci`; others bring theirs.
 */
var version = process.versions.node.split(".");
if (Number(version[0]) < 24) {
  console.error(`Comfy Edge needs Node 24 or newer to run locally; this is Node ${process.versions.node}.`);
  process.exit(1);
}
