/**
 * Owns the colours of a picture: words of the prompt set the mood, the seed varies it.
 * Invariant: a palette depends on its arguments alone, and all its colours are 0..1 RGB.
 */
import { clamp, lerp, pick } from "./noise.ts";

export type Rgb = readonly [number, number, number];
export type Mood = "day" | "sunset" | "night" | "storm" | "dawn";
export type Palette = { mood: Mood; zenith: Rgb; horizon: Rgb; sun: Rgb; far: Rgb; near: Rgb; water: Rgb; accent: Rgb };

const MOOD_WORDS: [Mood, RegExp][] = [
  ["night", /\b(night|moon\w*|star\w*|midnight|dark|neon|cyberpunk|aurora|noir)\b/],
  ["sunset", /\b(sunset|dusk|golden|evening|autumn|fire|lava|warm|desert|savanna)\b/],
  ["dawn", /\b(dawn|sunrise|morning|pastel|spring|dream\w*|pink|fairy)\b/],
  ["storm", /\b(storm\w*|rain\w*|fog\w*|mist\w*|cloud\w*|winter|grim|moody)\b/],
  ["day", /\b(day|sunny|bright|summer|blue|clear|noon)\b/],
];

const MOODS: Record<Mood, Omit<Palette, "mood">> = {
  day: {
    zenith: [0.16, 0.42, 0.78],
    horizon: [0.76, 0.88, 0.94],
    sun: [1, 0.97, 0.82],
    far: [0.47, 0.62, 0.74],
    near: [0.12, 0.3, 0.2],
    water: [0.12, 0.38, 0.5],
    accent: [0.95, 0.62, 0.24],
  },
  sunset: {
    zenith: [0.2, 0.14, 0.36],
    horizon: [0.98, 0.58, 0.3],
    sun: [1, 0.86, 0.55],
    far: [0.62, 0.33, 0.36],
    near: [0.13, 0.07, 0.14],
    water: [0.35, 0.2, 0.32],
    accent: [1, 0.42, 0.22],
  },
  dawn: {
    zenith: [0.45, 0.52, 0.8],
    horizon: [0.99, 0.8, 0.76],
    sun: [1, 0.93, 0.85],
    far: [0.68, 0.58, 0.73],
    near: [0.27, 0.24, 0.4],
    water: [0.5, 0.52, 0.7],
    accent: [0.96, 0.5, 0.62],
  },
  night: {
    zenith: [0.015, 0.025, 0.09],
    horizon: [0.12, 0.2, 0.38],
    sun: [0.93, 0.95, 1],
    far: [0.1, 0.15, 0.28],
    near: [0.015, 0.03, 0.06],
    water: [0.03, 0.07, 0.15],
    accent: [0.3, 0.9, 0.85],
  },
  storm: {
    zenith: [0.24, 0.28, 0.33],
    horizon: [0.66, 0.7, 0.72],
    sun: [0.9, 0.92, 0.92],
    far: [0.45, 0.5, 0.53],
    near: [0.1, 0.14, 0.15],
    water: [0.22, 0.28, 0.31],
    accent: [0.8, 0.72, 0.42],
  },
};

const TINTS: [RegExp, Rgb][] = [
  [/\b(red|crimson|scarlet|ruby)\b/, [1, 0.24, 0.2]],
  [/\b(orange|amber|fox)\b/, [1, 0.56, 0.16]],
  [/\b(gold\w*|yellow|honey)\b/, [1, 0.82, 0.25]],
  [/\b(green|emerald|jade|forest|jungle)\b/, [0.24, 0.78, 0.4]],
  [/\b(teal|cyan|turquoise)\b/, [0.2, 0.8, 0.82]],
  [/\b(blue|sapphire|azure|ocean)\b/, [0.2, 0.45, 1]],
  [/\b(purple|violet|amethyst)\b/, [0.6, 0.3, 0.95]],
  [/\b(pink|rose|magenta)\b/, [1, 0.4, 0.7]],
  [/\b(white|snow\w*|ice|silver)\b/, [0.92, 0.96, 1]],
];

export function mixRgb(a: Rgb, b: Rgb, t: number): Rgb {
  return [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)];
}

export function scaleRgb(color: Rgb, by: number): Rgb {
  return [color[0] * by, color[1] * by, color[2] * by];
}

/** `text` chooses the mood, `style` (a hash of the prompt) decides where it says nothing, `seed` shifts the hues a little. */
export function paletteFor(text: string, style: number, seed: number): Palette {
  const named = MOOD_WORDS.find(([, words]) => words.test(text))?.[0];
  const moods: Mood[] = ["day", "sunset", "dawn", "night", "storm"];
  const mood = named ?? moods[Math.floor(pick(style, 3) * moods.length)] ?? "day";
  const base = MOODS[mood];
  const turn = (pick(style, 5) - 0.5) * 0.7 + (pick(seed, 5) - 0.5) * 0.25;
  const tint = TINTS.find(([words]) => words.test(text))?.[1];
  const vary = (color: Rgb): Rgb =>
    tint ? mixRgb(turned(color, turn * 0.3), scaleRgb(tint, brightness(color)), 0.3) : turned(color, turn);
  return {
    mood,
    zenith: vary(base.zenith),
    horizon: vary(base.horizon),
    sun: base.sun,
    far: vary(base.far),
    near: vary(base.near),
    water: vary(base.water),
    accent: tint ?? turned(base.accent, turn * 2 + pick(style, 6) * 6),
  };
}

function brightness([r, g, b]: Rgb): number {
  return 0.25 + r * 0.35 + g * 0.5 + b * 0.2;
}

/** The colour turned around the grey axis by `angle` radians. */
export function turned([r, g, b]: Rgb, angle: number): Rgb {
  const cos = Math.cos(angle);
  const third = (1 - cos) / 3;
  const root = Math.sin(angle) * Math.sqrt(1 / 3);
  const same = cos + third;
  return [
    clamp(r * same + g * (third - root) + b * (third + root)),
    clamp(r * (third + root) + g * same + b * (third - root)),
    clamp(r * (third - root) + g * (third + root) + b * same),
  ];
}

/** A smooth ramp through four colours of the palette; t wraps around. */
export function ramp(palette: Palette, t: number): Rgb {
  const stops = [palette.near, palette.accent, palette.horizon, palette.far];
  const place = (t - Math.floor(t)) * stops.length;
  const index = Math.floor(place);
  const from = stops[index % stops.length] ?? palette.near;
  const to = stops[(index + 1) % stops.length] ?? palette.near;
  const f = place - index;
  return mixRgb(from, to, f * f * (3 - 2 * f));
}
