/**
 * Owns the body of /health (CONTRACT 1).
 * Invariant: keys are always there; what it names is no secret.
 */
import { z } from "zod";

const count = z.number().int().min(0);
const check = z.enum(["ok", "failed"]);

export const healthSchema = z
  .object({
    status: z.enum(["healthy", "degraded"]),
    api_version: z.string(),
    comfyui_status: z.enum(["connected", "disconnected"]),
    comfyui_url: z.null().meta({ description: "Where a ComfyUI is, only its agent knows." }),
    timestamp: z.string().meta({ format: "date-time" }),
    agents: z.object({ online: count, busy: count }),
    queue_depth: count.meta({ description: "Jobs that agents could take now." }),
    checks: z.object({ directory: check, queue: check, bucket: check }),
  })
  .meta({ id: "Health" });
