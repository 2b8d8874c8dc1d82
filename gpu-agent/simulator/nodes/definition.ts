/**
 * Owns the shape of a node class: what /object_info says of it, and what it does when it runs.
 * Invariant: a class describes itself completely; executor, validation and listing know no class by name.
 */
import type { Folders } from "../folders.ts";
import type { Models } from "../options.ts";
import type { Dumpable, Json, JsonMap } from "../python-json.ts";
import type { ImageBatch, Value } from "../values.ts";

/** What a class may look at when it lists its inputs: files come and go. */
export type World = { folders: Folders; models: Models };

/** Type name, or the list of choices; then the options as /object_info shows them. */
export type InputSpec = readonly [type: string | readonly string[], options?: Readonly<Record<string, Dumpable>>];
export type InputSpecs = Readonly<Record<string, InputSpec>>;
export type Inputs = ReadonlyMap<string, Value>;
export type NodeResult = { outputs: Value[]; ui?: Record<string, Dumpable> };

/** What a running node may do to the world. */
export type RunContext = World & {
  nodeId: string;
  /** The whole graph and the `extra_pnginfo` of the submit: hidden inputs of the savers. */
  prompt: JsonMap;
  pngInfo: Json;
  stepMs(pixels: number): number;
  loadMs: number;
  previews: boolean;
  /** True when the checkpoint is not the one loaded last; from now on it is. */
  mustLoad(model: string): boolean;
  /** Waits; an interrupt does not shorten it, as in a node without ticks. */
  busy(ms: number): Promise<void>;
  /** One tick of the progress bar. Throws `Interrupted` when an interrupt was asked for. */
  tick(value: number, max: number, preview: Preview | null): Promise<void>;
  /** How many files to write for each picture. */
  copies: number;
  /** Writes an output file. Throws when the disk is said to be full. */
  write(path: string, bytes: Buffer): void;
};

export type Preview = { image: ImageBatch; format: "JPEG" | "PNG"; maxSide: number | null };

/** What a class says of its inputs' present state: a hash, or a time. */
export type Fingerprint = string | number;

export type NodeClass = {
  name: string;
  displayName: string | null;
  category: string;
  /** Python module as /object_info shows it. */
  module: string;
  /** `typed`: a class of the newer schema, which shows every optional key. */
  schema: "classic" | "typed";
  isOutput: boolean;
  required(world: World): InputSpecs;
  optional?(world: World): InputSpecs;
  /** Hidden input -> type, as shown. */
  hidden?: Readonly<Record<string, Dumpable>>;
  outputs: readonly string[];
  outputNames?: readonly string[];
  outputTooltips?: readonly string[];
  description?: string;
  experimental?: boolean;
  /** Own check of literals: true, or text for `details`; it replaces min, max and list checks of the inputs it names. */
  validates?: { inputs: readonly string[]; check(inputs: Inputs, world: World): true | string };
  /** Changes when a re-run is due although the inputs are the same. */
  fingerprint?(inputs: Inputs, world: World): Fingerprint;
  run(inputs: Inputs, context: RunContext): Promise<NodeResult>;
};

/** A Python exception: `type` as its module-qualified name, `tip` what the server adds to the message. */
export class NodeError extends Error {
  readonly type: string;
  readonly tip: string;
  constructor(type: string, message: string, tip = "") {
    super(message);
    this.type = type;
    this.tip = tip;
  }
}

/** The exception behind an interrupt. */
export class Interrupted extends Error {}
