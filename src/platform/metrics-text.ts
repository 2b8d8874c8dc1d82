/**
 * Owns the text of `/metrics`: Prometheus exposition format 0.0.4.
 * Invariant: each family appears once with HELP and TYPE, counters without a count yet show zero, histograms are cumulative.
 */
import { METRICS, type Metric } from "./metric-names.ts";
import { type Deltas, seriesOf } from "./metrics.ts";

export type Gauge = { name: string; help: string; samples: { labels: { [label: string]: string }; value: number }[] };

/** The second family of a name, for dashboards written against the `comfyui_` names. */
const ALIASES: { readonly [name: string]: string } = {
  http_requests_total: "comfyui_http_requests_total",
  http_request_duration_seconds: "comfyui_http_request_duration_seconds",
  comfy_edge_jobs_submitted_total: "comfyui_jobs_created_total",
  comfy_edge_jobs_ended_total: "comfyui_jobs_total",
  job_processing_duration_seconds: "comfyui_job_duration_seconds",
};

/** The text of all families: gauges as given, then counters and histograms from the sum of the shards. */
export function metricsText(sums: Deltas, gauges: readonly Gauge[]): string {
  const lines = gauges.flatMap(gaugeLines);
  for (const [name, metric] of Object.entries(METRICS)) {
    const alias = ALIASES[name];
    lines.push(...familyLines(name, name, metric, sums));
    if (alias !== undefined) lines.push(...familyLines(name, alias, metric, sums));
  }
  return `${lines.join("\n")}\n`;
}

/** Sums several shards, name by name. */
export function sumOf(shards: readonly Deltas[]): Deltas {
  const sums: Deltas = {};
  for (const shard of shards)
    for (const [series, value] of Object.entries(shard)) sums[series] = (sums[series] ?? 0) + value;
  return sums;
}

function gaugeLines(gauge: Gauge): string[] {
  return [
    ...headLines(gauge.name, "gauge", gauge.help),
    ...gauge.samples.map(({ labels, value }) => `${seriesOf(gauge.name, labels)} ${value}`),
  ];
}

function headLines(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function familyLines(name: string, shown: string, metric: Metric, sums: Deltas): string[] {
  const head = headLines(shown, metric.type, metric.help);
  if (metric.type === "histogram") return [...head, ...histogramLines(name, shown, metric.bounds, sums)];
  const samples = samplesOf(name, withKnown(name, metric, sums)).map(
    ({ labels, value }) => `${shown}${labels} ${value}`,
  );
  return [...head, ...(samples.length === 0 ? [`${shown} 0`] : samples)];
}

/** With zero for each series that is known beforehand. */
function withKnown(name: string, { known }: Extract<Metric, { type: "counter" }>, sums: Deltas): Deltas {
  const zeros = (known?.values ?? []).map((value) => [seriesOf(name, { [known?.label ?? ""]: value }), 0] as const);
  return { ...Object.fromEntries(zeros), ...sums };
}

/** The stored series of a name, with its labels as text (`{a="b"}` or nothing), in a stable order. */
function samplesOf(name: string, sums: Deltas): { labels: string; value: number }[] {
  return Object.entries(sums)
    .filter(([series]) => series === name || series.startsWith(`${name}{`))
    .map(([series, value]) => ({ labels: series.slice(name.length), value }))
    .sort((a, b) => (a.labels < b.labels ? -1 : 1));
}

/** Stored buckets count each observation once; shown ones count everything up to their bound. */
function histogramLines(name: string, shown: string, bounds: readonly number[], sums: Deltas): string[] {
  const totals = samplesOf(`${name}_sum`, sums);
  const les = [...bounds.map(String), "+Inf"];
  const groups = totals.length === 0 ? [{ labels: "", value: 0 }] : totals;
  return groups.flatMap(({ labels, value }) => {
    let below = 0;
    const buckets = les.map((le) => {
      const label = labels === "" ? `{le="${le}"}` : `${labels.slice(0, -1)},le="${le}"}`;
      below += sums[`${name}_bucket${label}`] ?? 0;
      return `${shown}_bucket${label} ${below}`;
    });
    return [...buckets, `${shown}_sum${labels} ${value}`, `${shown}_count${labels} ${below}`];
  });
}
