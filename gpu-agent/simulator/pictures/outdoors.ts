/**
 * Owns the pictures of places: sky, mountains, trees, dunes, water with its mirror image, a city at its edge.
 * Invariant: a scene is a pure function of the place; x runs over the aspect ratio, y from 0 at the top to 1.
 */
import { clamp, fbm, lattice, lerp, noise, pick, smoothstep } from "./noise.ts";
import { mixRgb, type Palette, type Rgb, scaleRgb } from "./palette.ts";

/** Colour at a place. */
export type Scene = (x: number, y: number) => Rgb;
export type SceneInput = {
  text: string;
  style: number;
  seed: number;
  aspect: number;
  palette: Palette;
  detail: number;
};

type Layer = {
  base: number;
  height: number;
  rough: number;
  color: Rgb;
  seed: number;
  snow: boolean;
  sandy: boolean;
  trees: number;
  edge: Map<number, number>;
};

/** Where sun or moon stands, and how large it is. */
function lightOf({ seed, aspect, palette }: SceneInput) {
  const low = palette.mood === "sunset" || palette.mood === "dawn";
  return {
    x: aspect * (0.18 + 0.64 * pick(seed, 11)),
    y: (low ? 0.42 : 0.14) + 0.12 * pick(seed, 12),
    radius: palette.mood === "night" ? 0.045 : 0.06,
  };
}

export function skyScene(input: SceneInput): Scene {
  const { palette, seed, detail } = input;
  const light = lightOf(input);
  const cloudy = palette.mood === "storm" ? 0.85 : 0.3 + 0.35 * pick(seed, 13);
  const isNight = palette.mood === "night";
  return (x, y) => {
    const height = clamp(y / 0.68);
    let color = mixRgb(palette.zenith, palette.horizon, height * height * 0.6 + height * 0.4);
    const distance = Math.hypot(x - light.x, y - light.y);
    const glow = Math.exp(-distance * (isNight ? 9 : 4)) * (palette.mood === "storm" ? 0.25 : 0.75);
    color = mixRgb(color, palette.sun, glow);
    if (isNight) color = withStars(color, x, y, seed);
    color = mixRgb(color, palette.sun, 1 - smoothstep(light.radius * 0.92, light.radius, distance));
    const cloud = smoothstep(1 - cloudy, 1.15 - cloudy * 0.5, fbm(x * 2.1 + 7, y * 6.3, seed + 31, detail) * 1.25);
    const lit = mixRgb(scaleRgb(palette.horizon, 0.92), palette.sun, clamp(glow * 2));
    return mixRgb(color, lit, cloud * (isNight ? 0.22 : 0.7) * (1 - height * 0.4));
  };
}

function withStars(color: Rgb, x: number, y: number, seed: number): Rgb {
  const cell = 46;
  const cx = Math.floor(x * cell);
  const cy = Math.floor(y * cell);
  if (lattice(cx, cy, seed + 71) < 0.72) return color;
  const px = (cx + 0.2 + 0.6 * lattice(cx, cy, seed + 72)) / cell;
  const py = (cy + 0.2 + 0.6 * lattice(cx, cy, seed + 73)) / cell;
  const size = 0.0012 + 0.0022 * lattice(cx, cy, seed + 74);
  const shine = 1 - smoothstep(size * 0.3, size, Math.hypot(x - px, y - py));
  return mixRgb(color, [1, 0.98, 0.92], shine * (0.5 + 0.5 * lattice(cx, cy, seed + 75)));
}

function layersOf({ text, palette, seed, style }: SceneInput, horizon: number): Layer[] {
  const dunes = /\b(desert|dune\w*|sand\w*|beach)\b/.test(text);
  const snow = /\b(snow\w*|winter|ice|alps|himalaya\w*|glacier)\b/.test(text);
  const wooded =
    /\b(forest|tree\w*|wood\w*|jungle|pine\w*|fox|wolf|bear|deer|owl)\b/.test(text) || pick(style, 21) > 0.6;
  const count = 5;
  return Array.from({ length: count }, (_, i) => {
    const near = i / (count - 1);
    const color = mixRgb(palette.far, palette.near, near);
    return {
      base: horizon - 0.02 + near * near * (1.02 - horizon) * 0.92,
      height: (dunes ? 0.12 : 0.34) * (1 - near * 0.62) * (0.7 + 0.6 * pick(seed, 40 + i)),
      rough: dunes ? 1.1 : 1.6 + near * 1.2,
      color: dunes ? mixRgb(color, mixRgb([0.93, 0.68, 0.38], palette.sun, 0.25), 0.55) : color,
      seed: seed + 200 + i * 17,
      snow: snow && !dunes,
      sandy: dunes,
      edge: new Map(),
      trees: wooded && !dunes && i >= 2 ? 0.02 + near * 0.05 : 0,
    };
  });
}

function ridge(layer: Layer, x: number): number {
  const broad = fbm(x * layer.rough + layer.seed * 0.013, 3.7, layer.seed, layer.sandy ? 2 : 5);
  const sharp = 1 - Math.abs(noise(x * layer.rough * 1.7, 9.1, layer.seed + 5) * 2 - 1);
  return layer.base - layer.height * (broad * 0.75 + sharp * 0.35 - 0.32);
}

/** Firs: a row of narrow triangles of changing height. */
function treeTop(layer: Layer, x: number): number {
  if (layer.trees === 0) return 0;
  let top = 0;
  for (const shift of [0, 0.5]) {
    const width = layer.trees * 0.42;
    const place = x / width + shift;
    const index = Math.floor(place);
    const tall = lattice(index, Math.round(shift * 10), layer.seed + 9);
    const side = Math.abs(place - index - 0.5) * 2;
    top = Math.max(top, layer.trees * (0.35 + 0.9 * tall) * (1 - side) * (tall > 0.18 ? 1 : 0));
  }
  return top;
}

export function landscapeScene(input: SceneInput): Scene {
  const { text, palette, seed } = input;
  const sky = skyScene(input);
  const water = /\b(ocean|sea|lake|water|river|coast|island|reflection|boat|ship|harbor|harbour|lighthouse)\b/.test(
    text,
  );
  const city = /\b(city|street|building\w*|skyline|cyberpunk|neon|tower\w*|town|urban|tokyo|manhattan)\b/.test(text);
  const horizon = water ? 0.56 : 0.55 + 0.1 * pick(seed, 14);
  const layers = layersOf(input, horizon)
    .slice(city ? 3 : 0, water ? 3 : 5)
    .reverse();
  const above: Scene = (x, y) => {
    const layer = layers.find((each) => y >= skyline(each, x));
    if (layer !== undefined) return ground(layer, x, y, input);
    const color = sky(x, y);
    return city ? withTowers(color, x, y, palette, seed, horizon) : color;
  };
  return water ? mirrored(above, input, 0.62) : above;
}

/** The upper edge of a layer. It is asked for at every row, so each column is worked out once. */
function skyline(layer: Layer, x: number): number {
  const known = layer.edge.get(x);
  if (known !== undefined) return known;
  const edge = ridge(layer, x) - treeTop(layer, x);
  layer.edge.set(x, edge);
  return edge;
}

function ground(layer: Layer, x: number, y: number, { palette, detail }: SceneInput): Rgb {
  const rock = fbm(x * 9, y * (layer.sandy ? 5 : 16), layer.seed + 3, detail) - 0.5;
  const depth = clamp((y - skyline(layer, x)) / 0.3);
  const haze = (1 - clamp((layer.base - 0.4) * 1.6)) * 0.35 * depth;
  const color = mixRgb(scaleRgb(layer.color, 1 + rock * (layer.sandy ? 0.18 : 0.55)), palette.horizon, haze);
  if (!layer.snow) return color;
  const below = y - ridge(layer, x);
  const cap = below < 0 ? 0.12 : smoothstep(0.2, 0.03, below + rock * 0.16);
  return mixRgb(color, mixRgb([0.96, 0.97, 1], palette.sun, 0.25), cap * 0.88);
}

/** Below the shore the picture stands on its head, rippled and darker. */
function mirrored(above: Scene, { palette, seed }: SceneInput, shore: number): Scene {
  return (x, y) => {
    if (y < shore) return above(x, y);
    const depth = (y - shore) / (1 - shore);
    const wave = (noise(x * 5, y * 90 * (1.2 - depth * 0.7), seed + 401) - 0.5) * (0.015 + 0.06 * depth);
    const glint = noise(x * 24 - y * 3, y * 140 * (1.1 - depth * 0.6), seed + 402);
    const seen = above(x + wave * 0.6, clamp(shore - (y - shore) * 1.35 + wave, 0, shore));
    const color = mixRgb(seen, palette.water, 0.3 + 0.35 * depth);
    return mixRgb(color, palette.sun, smoothstep(0.78, 0.95, glint) * 0.35);
  };
}

function withTowers(under: Rgb, x: number, y: number, palette: Palette, seed: number, horizon: number): Rgb {
  let color = under;
  for (let row = 0; row < 3; row++) {
    const width = 0.05 + row * 0.02;
    const index = Math.floor(x / width + row * 0.37);
    const tall = lattice(index, row, seed + 501);
    const top = horizon + 0.12 + row * 0.1 - (0.5 - row * 0.1) * tall;
    if (y < top) continue;
    const wall = mixRgb(palette.far, palette.near, 0.3 + row * 0.33);
    color = scaleRgb(wall, 0.85 + 0.3 * tall);
    const wx = Math.floor((x / width + row * 0.37 - index) * 6);
    const wy = Math.floor((y - top) * 62);
    const lit = lattice(index * 11 + wx, wy + row * 1000, seed + 502);
    const frame = (x / width + row * 0.37 - index) * 6 - wx;
    const pane = frame > 0.22 && frame < 0.82 && (y - top) * 62 - wy < 0.62 && wx > 0 && wx < 5;
    if (pane && lit > 0.58) color = mixRgb(color, lit > 0.9 ? palette.accent : [1, 0.88, 0.6], 0.4 + 0.6 * lit);
    color = mixRgb(color, palette.horizon, lerp(0.28, 0, row / 2) * 0.8);
  }
  return color;
}
