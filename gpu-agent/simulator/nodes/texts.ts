/**
 * Owns the nodes about text and plain values.
 * Invariant: a value passes through with every digit.
 */
import type { Json } from "../python-json.ts";
import { isOpaque, type Value } from "../values.ts";
import type { InputSpec, Inputs, NodeClass } from "./definition.ts";
import { choice, textFrom } from "./reading.ts";

const text = {
  module: "comfy_extras.nodes_string",
  schema: "typed",
  isOutput: false,
  category: "utils/string",
  outputs: ["STRING"],
} as const;
const primitive = {
  module: "comfy_extras.nodes_primitive",
  schema: "typed",
  isOutput: false,
  category: "utils/primitive",
} as const;
const multiline: InputSpec = ["STRING", { multiline: true }];
const LARGEST = 9_223_372_036_854_775_807n;

function plain(inputs: Inputs, name: string): Json {
  const value: Value | undefined = inputs.get(name);
  return value === undefined || isOpaque(value) ? null : value;
}

function primitiveClass(
  name: string,
  displayName: string,
  type: string,
  options: NonNullable<InputSpec[1]>,
): NodeClass {
  return {
    ...primitive,
    name,
    displayName,
    required: () => ({ value: [type, options] }),
    outputs: [type],
    run: async (inputs) => ({ outputs: [plain(inputs, "value")] }),
  };
}

const stringConcatenate: NodeClass = {
  ...text,
  name: "StringConcatenate",
  displayName: "Concatenate",
  required: () => ({
    string_a: multiline,
    string_b: multiline,
    delimiter: ["STRING", { default: "", multiline: false }],
  }),
  run: async (inputs) => ({
    outputs: [`${textFrom(inputs, "string_a")}${textFrom(inputs, "delimiter")}${textFrom(inputs, "string_b")}`],
  }),
};

const CASES: Record<string, (given: string) => string> = {
  UPPERCASE: (given) => given.toUpperCase(),
  lowercase: (given) => given.toLowerCase(),
  Capitalize: (given) => given.charAt(0).toUpperCase() + given.slice(1).toLowerCase(),
  "Title Case": (given) =>
    given.toLowerCase().replace(/\p{L}+/gu, (word) => word.charAt(0).toUpperCase() + word.slice(1)),
};

const caseConverter: NodeClass = {
  ...text,
  name: "CaseConverter",
  displayName: "Case Converter",
  required: () => ({ string: multiline, mode: choice(Object.keys(CASES)) }),
  async run(inputs) {
    const convert = CASES[textFrom(inputs, "mode")] ?? ((given: string) => given);
    return { outputs: [convert(textFrom(inputs, "string"))] };
  },
};

const stringTrim: NodeClass = {
  ...text,
  name: "StringTrim",
  displayName: "Trim",
  required: () => ({ string: multiline, mode: choice(["Both", "Left", "Right"]) }),
  async run(inputs) {
    const given = textFrom(inputs, "string");
    const mode = textFrom(inputs, "mode");
    return { outputs: [mode === "Left" ? given.trimStart() : mode === "Right" ? given.trimEnd() : given.trim()] };
  },
};

export const TEXTS: NodeClass[] = [
  primitiveClass("PrimitiveInt", "Int", "INT", { min: -LARGEST, max: LARGEST, control_after_generate: true }),
  primitiveClass("PrimitiveFloat", "Float", "FLOAT", { min: -LARGEST, max: LARGEST }),
  primitiveClass("PrimitiveString", "String", "STRING", { multiline: false }),
  primitiveClass("PrimitiveStringMultiline", "String (Multiline)", "STRING", { multiline: true }),
  primitiveClass("PrimitiveBoolean", "Boolean", "BOOLEAN", {}),
  stringConcatenate,
  caseConverter,
  stringTrim,
];
