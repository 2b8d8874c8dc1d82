/**
 * Owns the judgement over a soak's histories, in the manner of Jepsen's total queue: what was accepted comes out once.
 * Invariant: pure; it judges from what any client can read (views and event logs) and never from what the soak believes.
 */
import { z } from "zod";
import { isTerminal, jobStateSchema } from "../../../src/protocol/states.ts";

export const eventSchema = z.object({
  revision: z.number(),
  from: z.string().nullable(),
  to: jobStateSchema,
  attempt: z.number(),
  cause: z.string(),
});
export const viewSchema = z.object({
  job_id: z.string(),
  status: jobStateSchema,
  attempt: z.number(),
  result: z.object({ artifacts: z.array(z.object({ url: z.string().nullable(), sha256: z.string() })) }).nullable(),
  error: z.object({ code: z.string() }).nullable(),
});

export type History = {
  job: string;
  /** Null: unknown to the API, though it was accepted. */
  view: z.infer<typeof viewSchema> | null;
  events: z.infer<typeof eventSchema>[];
  /** A cancel of ours was answered 202. */
  cancelAcknowledged: boolean;
  /** SHA-256 of what each artifact's URL gave; null where it gave nothing. */
  bytes: (string | null)[];
};

/** What the troubles of a soak may end a job with; any other failure is the product's. */
const EXCUSED = new Set(["POISON", "AGENT_LOST", "COMFYUI_UNAVAILABLE", "COMFYUI_EXECUTION", "STORAGE_FAILED"]);

/** What is wrong with one job's history, each as a sentence; empty when nothing is. */
export function faultsIn({ job, view, events, cancelAcknowledged, bytes }: History): string[] {
  if (view === null) return [`${job} was accepted and is lost`];
  const faults: string[] = [];
  const say = (isWrong: boolean, what: string) => {
    if (isWrong) faults.push(`${job} ${what}`);
  };
  const ends = events.filter(({ to }) => isTerminal(to));
  const first = events[0]?.revision ?? 0;
  say(!isTerminal(view.status), `is still ${view.status}`);
  say(ends.length > 1, `ended ${ends.length} times`);
  say(isTerminal(view.status) && events.at(-1)?.to !== view.status, "has an end that its event log does not show");
  say(ends.filter(({ to }) => to === "succeeded").length > 1, "was committed twice");
  say(
    events.some(({ revision }, n) => revision !== first + n),
    "has a gap in its revisions",
  );
  say(
    events.some(({ attempt }, n) => n > 0 && attempt < (events[n - 1]?.attempt ?? 0)),
    "went back to an earlier attempt",
  );
  say(cancelAcknowledged && view.status !== "canceled", `ended ${view.status} after its cancel was acknowledged`);
  say(view.status !== "succeeded" && (view.result?.artifacts.length ?? 0) > 0, "shows results without a success");
  if (view.status === "succeeded") faults.push(...faultsOfResults(job, view, bytes));
  const code = view.error?.code ?? "";
  say(view.status === "failed" && !EXCUSED.has(code), `failed with ${code}`);
  say(view.status === "expired", "expired");
  return faults;
}

function faultsOfResults(job: string, view: NonNullable<History["view"]>, bytes: History["bytes"]): string[] {
  const artifacts = view.result?.artifacts ?? [];
  if (artifacts.length === 0) return [`${job} succeeded with nothing`];
  return artifacts.flatMap(({ url, sha256 }, n) => {
    if (url === null) return [];
    if (!new URL(url).pathname.includes(`/${view.attempt}-`)) return [`${job} shows a file of another attempt`];
    return bytes[n] === sha256 ? [] : [`${job} shows a file that is not what its manifest says`];
  });
}

export type Tally = Record<string, number>;

/** How often each end, code and number of attempts came about. */
export function tally(histories: readonly History[]): Tally {
  const counts: Tally = {};
  const add = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  for (const { view, events } of histories) {
    if (view === null) continue;
    add(view.status);
    if (view.error) add(`failed ${view.error.code}`);
    if (view.attempt > 1) add("took several attempts");
    for (const { cause } of events)
      if (cause === "lease_expired" || cause === "release") add(`attempts ended by ${cause}`);
  }
  return counts;
}
