/**
 * Owns docs/validation.md: the last reports of the conformance batteries, beside what the founding systems measured.
 * Invariant: every figure is read from a report in `.data/conformance`; a battery that was not run is an error.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { number, table } from "./tables.ts";

const ROOT = new URL("../../", import.meta.url);
const spreadSchema = z.object({ min: z.number(), p50: z.number(), p95: z.number(), max: z.number() });
const burstSchema = spreadSchema.extend({ asked: z.number(), ok: z.number() });
const reportSchema = z.object({
  api: z.string(),
  started_at: z.string(),
  totals: z.object({ tests: z.number(), passed: z.number(), failed: z.number() }),
  tests: z.array(
    z.object({ name: z.string(), group: z.string(), ok: z.boolean(), rounds: z.number(), passed: z.number() }),
  ),
});
const firstSchema = reportSchema.extend({ five_submits: spreadSchema.extend({ total_ms: z.number() }) });
const secondSchema = reportSchema.extend({
  rounds: z.number(),
  health_burst: burstSchema,
  list_burst: burstSchema,
  stress_ms: z.object({
    jobs: z.number(),
    queue_wait: spreadSchema,
    run_time: spreadSchema,
    total_time: spreadSchema,
    submission_latency: spreadSchema,
  }),
});

function report<S extends z.ZodType>(schema: S, name: string): z.infer<S> {
  return schema.parse(JSON.parse(readFileSync(new URL(`.data/conformance/${name}.json`, ROOT), "utf8")));
}

type Report = z.infer<typeof reportSchema>;
type Spread = z.infer<typeof spreadSchema>;

function checks({ tests }: Report): string {
  const rows = tests.map(({ name, group, ok, rounds, passed }) => [
    group,
    `\`${name}\``,
    ok && rounds > 0 ? "passed" : "**failed**",
    `${passed} of ${rounds}`,
  ]);
  return table(["group", "check", "", "rounds"], rows);
}

function about({ api, started_at, totals }: Report): string {
  return `${totals.passed} of ${totals.tests} checks passed; ${api}, ${started_at.slice(0, 10)}.`;
}

const inMs = ({ p50, p95, max }: Spread) => [p50, p95, max].map((value) => `${number(Math.round(value))} ms`);

function figures({ health_burst, list_burst, stress_ms }: z.infer<typeof secondSchema>): string {
  const { submission_latency, queue_wait, run_time, total_time, jobs } = stress_ms;
  const rows = [
    [
      `${health_burst.ok} of ${health_burst.asked} on \`/health\` at once`,
      ...inMs(health_burst),
      "585, 3,740 and 4,029 ms",
    ],
    [`${list_burst.ok} of ${list_burst.asked} on the list at once`, ...inMs(list_burst), "673, 2,516 and 6,168 ms"],
    ["8 submits at once, each", ...inMs(submission_latency), "8,774, - and 14,609 ms"],
    [`${jobs} accepted jobs: wait`, ...inMs(queue_wait), "24.7 s median on a real GPU"],
    ["run", ...inMs(run_time), "21.1 s median on a real GPU"],
    ["both", ...inMs(total_time), "43.8 s median on a real GPU"],
  ];
  return table(["", "p50", "p95", "max", "the founding system"], rows);
}

const first = report(firstSchema, "founding-a");
const second = report(secondSchema, "founding-b");

const page = `# Validation

Made by \`npm run validation\` from the reports of the last run of both batteries:

\`\`\`sh
npx vitest run --project conformance test/conformance/founding      # LONG=1: a hundred rounds
BASE_URL=https://… USER_KEY=… SERVICE_KEY=… ADMIN_KEY=… npx vitest run --project conformance test/conformance/founding
npm run validation
\`\`\`

The local stack is every real part on one machine of two cores, with the ComfyUI simulator in place of a GPU. Reports and the
produced pictures lie in \`.data/conformance\`.

## The second founding system's battery, on \`/v1\`

${about(second)} ${second.rounds} rounds each. There, 17 of 19 passed once: of 8 simultaneous submits under a limit of 5
all 8 were accepted, and a first cancel was lost. Every other cancel here is sent to a job that was seen running.

${checks(second)}

${figures(second)}

## The first founding system's batteries, on \`/api/v1\`

${about(first)} Five submits at once took ${number(first.five_submits.total_ms)} ms in all, ${number(Math.round(first.five_submits.p50))} ms at the median (there: 80 and 62 ms).

${checks(first)}
`;

writeFileSync(new URL("docs/validation.md", ROOT), page);
console.log("Written: docs/validation.md");
