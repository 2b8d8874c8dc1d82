/**
 * Owns what a prompt looks like: which scene its words ask for, and how seed, steps, cfg, sampler, scheduler and model change it.
 * Invariant: the pixels depend on the recipe, the size and the index in the batch, and on nothing else; every part of the recipe counts.
 */
import { bloomScene, cosmosScene, flowScene, glassScene } from "./abstracts.ts";
import { clamp, hashText, lattice, lerp, mix, pick } from "./noise.ts";
import { landscapeScene, type Scene, type SceneInput } from "./outdoors.ts";
import { paletteFor } from "./palette.ts";

/** What a sampler was told. `seed` is decimal text, so that 64 bits survive. */
export type Recipe = {
  prompt: string;
  negative: string;
  seed: string;
  steps: number;
  cfg: number;
  sampler: string;
  scheduler: string;
  model: string;
};

const SCENES: [RegExp, (input: SceneInput) => Scene][] = [
  [/\b(space|galax\w*|nebula\w*|universe|cosmos|cosmic|planet\w*|astronaut|supernova|comet)\b/, cosmosScene],
  [/\b(flower\w*|rose\w*|blossom\w*|mandala\w*|bloom\w*|lotus|garden|tulip\w*|sunflower\w*)\b/, bloomScene],
  [/\b(glass|mosaic|crystal\w*|gem\w*|diamond\w*|geometric|cathedral|polygon\w*)\b/, glassScene],
  [/\b(abstract|fluid|marble|smoke|ink|silk|liquid|texture|pattern|fire|lava|dream\w*|portrait|face)\b/, flowScene],
  [
    /\b(mountain\w*|hill\w*|snow\w*|ocean|sea|lake|river|forest|tree\w*|city|street|desert|dune\w*|beach|landscape|valley|sunset|sunrise|sky|fox|wolf|house|castle|boat|island|village|field|tower\w*|skyline|night|winter)\b/,
    landscapeScene,
  ],
];

const FALLBACKS = [landscapeScene, flowScene, cosmosScene, glassScene, bloomScene, landscapeScene];

/** The seed of everything in the picture that the prompt's words do not decide. */
function compositionSeed(recipe: Recipe, index: number): number {
  const words = hashText(`${recipe.negative}\u0000${recipe.model}\u0000${recipe.sampler}\u0000${recipe.scheduler}`);
  const numbers = hashText(`${recipe.seed}|${recipe.steps}|${recipe.cfg}|${index}`, words);
  return mix(numbers ^ hashText(recipe.prompt));
}

function sceneFor(recipe: Recipe, aspect: number, index: number): { scene: Scene; seed: number } {
  const text = recipe.prompt.toLowerCase();
  const style = hashText(text);
  const seed = compositionSeed(recipe, index);
  const detail = clamp(2 + Math.floor(recipe.steps / 6), 2, 5);
  const palette = paletteFor(text, style, seed);
  const named = SCENES.find(([words]) => words.test(text))?.[1];
  const make = named ?? FALLBACKS[Math.floor(pick(style, 1) * FALLBACKS.length)] ?? landscapeScene;
  return { scene: make({ text, style, seed, aspect, palette, detail }), seed };
}

/** Milliseconds of painting between two looks at the event loop. */
const TURN_MS = 6;

/** RGB floats 0..1, row by row. The event loop gets its turn in between, as a server keeps answering while its GPU works. */
export async function paint(recipe: Recipe, width: number, height: number, index: number): Promise<Float32Array> {
  const { scene, seed } = sceneFor(recipe, width / height, index);
  const contrast = 1 + clamp((recipe.cfg - 7) / 30, -0.25, 0.5);
  const data = new Float32Array(width * height * 3);
  let since = performance.now();
  for (let row = 0; row < height; row++) {
    paintRow(data, row, { width, height, scene, seed, contrast });
    if (performance.now() - since < TURN_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    since = performance.now();
  }
  return data;
}

const GRAIN = 0.012;
type Canvas = { width: number; height: number; scene: Scene; seed: number; contrast: number };

function paintRow(data: Float32Array, row: number, { width, height, scene, seed, contrast }: Canvas): void {
  const y = (row + 0.5) / height;
  let at = row * width * 3;
  for (let column = 0; column < width; column++) {
    const color = scene((column + 0.5) / height, y);
    const speck = (lattice(column, row, seed) - 0.5) * GRAIN + 0.5;
    data[at++] = clamp((color[0] - 0.5) * contrast + speck);
    data[at++] = clamp((color[1] - 0.5) * contrast + speck);
    data[at++] = clamp((color[2] - 0.5) * contrast + speck);
  }
}

/** What sampling has reached at `done` (0..1): noise that gives way to the picture, fine parts last. */
export function noisy(picture: Float32Array, done: number, recipe: Recipe, index: number): Float32Array {
  const seed = compositionSeed(recipe, index);
  const clear = done * done * (3 - 2 * done);
  return picture.map((value, i) => clamp(lerp(lattice(i, 31, seed), value, clear)));
}
