/**
 * Owns the list of installed classes and how /object_info describes one.
 * Invariant: a name is listed once; what is listed can run.
 */
import type { Dumpable } from "../python-json.ts";
import type { InputSpecs, NodeClass, World } from "./definition.ts";
import { IMAGES } from "./images.ts";
import { LATENTS } from "./latents.ts";
import { LOADERS } from "./loaders.ts";
import { LOADING } from "./loading.ts";
import { MASKS } from "./masks.ts";
import { MEDIA } from "./media.ts";
import { SAMPLING } from "./sampling.ts";
import { SAVING } from "./saving.ts";
import { TEXTS } from "./texts.ts";

export const NODE_CLASSES: ReadonlyMap<string, NodeClass> = new Map(
  [...SAMPLING, ...LOADERS, ...LATENTS, ...SAVING, ...LOADING, ...IMAGES, ...MASKS, ...MEDIA, ...TEXTS].map((node) => [
    node.name,
    node,
  ]),
);

function listed(specs: InputSpecs): Dumpable {
  return Object.fromEntries(
    Object.entries(specs).map(([name, [type, options]]) => [name, options ? [type, options] : [type]]),
  );
}

/** One entry of /object_info. Choices are read from the disk at every call, as ComfyUI does. */
export function describeClass(node: NodeClass, world: World, isNew: boolean): Dumpable {
  const required = node.required(world);
  const optional = node.optional?.(world);
  const hidden = node.hidden;
  const typed = node.schema === "typed";
  return {
    input: {
      required: listed(required),
      ...(optional ? { optional: listed(optional) } : {}),
      ...(hidden ? { hidden } : {}),
    },
    input_order: {
      required: Object.keys(required),
      ...(optional ? { optional: Object.keys(optional) } : {}),
      ...(hidden ? { hidden: Object.keys(hidden) } : {}),
    },
    output: node.outputs,
    ...(isNew ? { is_input_list: false } : {}),
    output_is_list: node.outputs.map(() => false),
    output_name: node.outputNames ?? node.outputs,
    ...(typed ? { output_tooltips: node.outputs.map(() => null) } : {}),
    name: node.name,
    display_name: node.displayName,
    description: node.description ?? "",
    python_module: node.module,
    category: node.category,
    output_node: node.isOutput,
    ...(isNew ? { has_intermediate_output: false, search_aliases: [] } : {}),
    ...(typed ? { deprecated: false, experimental: node.experimental ?? false, api_node: false } : {}),
    ...(typed && isNew ? { dev_only: false, essentials_category: null } : {}),
    ...(!typed && node.outputTooltips ? { output_tooltips: node.outputTooltips } : {}),
    ...(!typed && node.experimental ? { experimental: true } : {}),
  };
}
