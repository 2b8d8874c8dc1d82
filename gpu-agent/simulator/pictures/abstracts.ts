/**
 * Owns the pictures that show no place: galaxies, blossoms, stained glass, flowing colour.
 * Invariant: a scene is a pure function of the place; x runs over the aspect ratio, y from 0 at the top to 1.
 */
import { clamp, fbm, lattice, pick, smoothstep } from "./noise.ts";
import type { Scene, SceneInput } from "./outdoors.ts";
import { mixRgb, type Rgb, ramp, scaleRgb } from "./palette.ts";

/** Gas clouds, stars of three sizes, sometimes a planet with a lit side. */
export function cosmosScene({ palette, seed, aspect, detail, text }: SceneInput): Scene {
  const planet = /\b(planet\w*|moon|mars|saturn|earth|alien)\b/.test(text) || pick(seed, 61) > 0.45;
  const cx = aspect * (0.25 + 0.5 * pick(seed, 62));
  const cy = 0.3 + 0.4 * pick(seed, 63);
  const radius = 0.12 + 0.16 * pick(seed, 64);
  const deep: Rgb = scaleRgb(palette.zenith, 0.25);
  return (x, y) => {
    const warp = fbm(x * 1.6, y * 1.6, seed + 610, detail);
    const gas = fbm(x * 2.4 + warp * 2.2, y * 2.4 - warp * 1.7, seed + 620, detail);
    let color = mixRgb(deep, ramp(palette, warp * 1.6 + 0.1), smoothstep(0.38, 0.82, gas) * 0.95);
    color = mixRgb(color, [1, 0.95, 0.9], smoothstep(0.66, 0.9, gas * warp * 1.9) * 0.7);
    for (const cell of [18, 42, 90]) color = star(color, x, y, cell, seed);
    if (!planet) return color;
    const dx = (x - cx) / radius;
    const dy = (y - cy) / radius;
    const distance = Math.hypot(dx, dy);
    if (distance > 1) return mixRgb(color, palette.accent, 0.3 * Math.exp((1 - distance) * 9));
    const depth = Math.sqrt(1 - distance * distance);
    const bands = fbm(dx * 1.2 + depth, dy * 5 + depth * 0.4, seed + 640, detail);
    const light = clamp(dx * -0.6 + dy * -0.45 + depth * 0.66) ** 0.8;
    return scaleRgb(ramp(palette, bands * 1.5 + pick(seed, 65)), 0.04 + light * 1.15);
  };
}

function star(under: Rgb, x: number, y: number, cell: number, seed: number): Rgb {
  const ix = Math.floor(x * cell);
  const iy = Math.floor(y * cell);
  if (lattice(ix, iy, seed + cell) < 0.8) return under;
  const px = (ix + 0.2 + 0.6 * lattice(ix, iy, seed + cell + 1)) / cell;
  const py = (iy + 0.2 + 0.6 * lattice(ix, iy, seed + cell + 2)) / cell;
  const size = 0.09 / cell;
  const distance = Math.hypot(x - px, y - py);
  const shine = Math.exp(-(distance * distance) / (size * size));
  return mixRgb(under, [1, 0.97, 0.93], shine * (0.35 + 0.65 * lattice(ix, iy, seed + cell + 3)));
}

/** A blossom of petals in rings, seen from above on a soft ground. */
export function bloomScene({ palette, seed, aspect, detail }: SceneInput): Scene {
  const petals = 5 + Math.floor(pick(seed, 71) * 9);
  const rings = 3 + Math.floor(pick(seed, 72) * 4);
  const twist = (pick(seed, 73) - 0.5) * 2.4;
  return (x, y) => {
    const dx = x - aspect / 2;
    const dy = y - 0.5;
    const radius = Math.hypot(dx, dy) * 2;
    const angle = Math.atan2(dy, dx);
    const ground = fbm(x * 3, y * 3, seed + 710, detail);
    let color: Rgb = mixRgb(scaleRgb(palette.near, 0.9), palette.far, ground * 0.8);
    for (let ring = rings; ring >= 1; ring--) {
      const reach = (ring / rings) * 0.92;
      const turn = angle * petals * 0.5 + ring * 1.57 + twist * radius;
      const lobe = Math.abs(Math.cos(turn));
      const edge = reach * (0.62 + 0.38 * lobe ** 0.6);
      const inside = smoothstep(edge, edge - 0.02, radius);
      const vein = 0.85 + 0.15 * Math.cos(turn * 8) + (fbm(radius * 9, angle * 6, seed + ring, 2) - 0.5) * 0.22;
      const shade = ramp(palette, ring / (rings + 1) + pick(seed, 74));
      const depth = 0.45 + 0.75 * clamp(radius / edge) * (0.6 + 0.4 * lobe);
      color = mixRgb(color, scaleRgb(shade, vein * depth * 1.25), inside);
    }
    const heart = smoothstep(0.11, 0.08, radius + (fbm(x * 40, y * 40, seed + 720, 2) - 0.5) * 0.05);
    return mixRgb(color, mixRgb(palette.accent, [1, 0.9, 0.4], 0.6), heart);
  };
}

/** Stained glass: cells around scattered points, dark lead between, light from behind. */
export function glassScene({ palette, seed, detail }: SceneInput): Scene {
  const cells = 6 + Math.floor(pick(seed, 81) * 7);
  return (x, y) => {
    const bend = (fbm(x * 2, y * 2, seed + 810, 2) - 0.5) * 0.35;
    const px = (x + bend) * cells;
    const py = (y - bend) * cells;
    let first = 9;
    let second = 9;
    let owner = 0;
    for (let gx = Math.floor(px) - 1; gx <= Math.floor(px) + 1; gx++) {
      for (let gy = Math.floor(py) - 1; gy <= Math.floor(py) + 1; gy++) {
        const distance = Math.hypot(px - gx - lattice(gx, gy, seed + 1), py - gy - lattice(gx, gy, seed + 2));
        if (distance < first) {
          second = first;
          first = distance;
          owner = lattice(gx, gy, seed + 3);
        } else if (distance < second) second = distance;
      }
    }
    const lead = smoothstep(0.02, 0.09, second - first);
    const light =
      0.6 + 0.65 * fbm(x * 1.3, y * 1.3, seed + 820, 2) + (fbm(x * 30, y * 30, seed + 830, detail) - 0.5) * 0.12;
    return mixRgb([0.05, 0.05, 0.06], scaleRgb(ramp(palette, owner), light * (1.1 - first * 0.3)), lead);
  };
}

/** Colour that flows: noise that bends noise, lit from one side. */
export function flowScene({ palette, seed, style, detail }: SceneInput): Scene {
  const scale = 1 + pick(style, 91) * 1.8;
  const bend = 1.2 + pick(style, 92) * 2.4;
  const bands = 0.8 + pick(style, 93) * 2.2;
  const shift = pick(seed, 94);
  return (x, y) => {
    const ax = fbm(x * scale, y * scale, seed + 910, detail);
    const ay = fbm(x * scale + 5.2, y * scale + 1.3, seed + 920, detail);
    const value = fbm(x * scale + ax * bend, y * scale + ay * bend, seed + 930, detail);
    const line = Math.sin((value + ax * 0.5) * 46 * bands) * 0.5 + 0.5;
    const light = 0.72 + (ay - 0.5) * 1.1 + line ** 6 * 0.22;
    return scaleRgb(ramp(palette, value * bands + ax * 0.6 + shift), light);
  };
}
