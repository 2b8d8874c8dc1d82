/**
 * Owns what GET /api/v1/models answers.
 * Invariant: a name is spelled as a workflow has to spell it.
 */
import { z } from "zod";
import { MODELS_EXAMPLE } from "./examples.ts";

const count = z.number().int().min(0);

export const modelListSchema = z
  .object({
    models: z.array(
      z.object({
        name: z.string().meta({ example: "v1-5-pruned-emaonly.ckpt" }),
        kind: z.string().meta({ description: "ComfyUI's folder: checkpoints, loras, vae and others." }),
        size_bytes: count.nullable(),
        pools: z.array(z.string()).meta({ description: "Where an agent has it." }),
      }),
    ),
    total: count,
    limit: count,
    offset: count,
  })
  .meta({ id: "ModelList", example: MODELS_EXAMPLE });
export type ModelList = z.infer<typeof modelListSchema>;
