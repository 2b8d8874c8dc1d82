/**
 * Owns the list of installed classes and how /object_info describes one.
 * Invariant: a name is listed once; what is listed can run.
 */
import type { Dumpable } from "../python-json.ts";
import type { InputSpecs, NodeClass, World } from "./definition.ts";
import { IMAGES } from "./images.ts";
import { SAMPLING } from "./sampling.ts";
import { SAVING } from "./saving.ts";

export const NODE_CLASSES: ReadonlyMap<string, NodeClass> = new Map(
  [...SAMPLING, ...SAVING, ...IMAGES].map((node) => [node.name, node]),
);

function listed(specs: InputSpecs): Dumpable {
  return Object.fromEntries(
    Object.entries(specs).map(([name, [type, options]]) => [name, options ? [type, options] : [type]]),
  );
}

/** One entry of /object_info. Choices are read from the disk at every call, as ComfyUI does. */
export function describeClass(node: NodeClass, world: World): Dumpable {
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
    output_is_list: node.outputs.map(() => false),
    output_name: node.outputNames ?? node.outputs,
    ...(typed ? { output_tooltips: node.outputs.map(() => null) } : {}),
    name: node.name,
    display_name: node.displayName,
    description: "",
    python_module: node.module,
    category: node.category,
    output_node: node.isOutput,
    ...(typed ? { deprecated: false, experimental: false, api_node: false } : {}),
  };
}
