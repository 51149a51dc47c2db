/**
 * Generates the Prometheus rules: a recording rule for each share and window, and alerts on them. A metric
 * that the code does not export has no rule; see `missing` in the objectives.
 */
import { stringify } from 'yaml';
import { Alarm, alarmsOf, burnThreshold, runbook, formatDuration } from './alarms';
import { BudgetObjective, Objectives, QuantileObjective } from './objectives';

interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

const HEADER = `# Generated from infra/slo.yaml by \`npm run slo\` in infra/aws; edit infra/slo.yaml instead.
# A job is one edition; its processes are summed.
`;

export function prometheusRules(objectives: Objectives): string {
  const alarms = alarmsOf(objectives);
  const groups = [
    { name: 'vitrina-shares', interval: '30s', rules: shares(alarms) },
    { name: 'vitrina-alarms', interval: '30s', rules: alarms.flatMap(alert) },
  ];
  return HEADER + stringify({ groups }, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** Metrics that will have rules once the code exports them. */
export function missingMetrics({ objectives }: Objectives): string[] {
  return objectives.flatMap((objective) =>
    objective.kind === 'bound' && 'missing' in objective.prometheus
      ? [objective.prometheus.missing]
      : [],
  );
}

function shares(alarms: readonly Alarm[]): Rule[] {
  const windows = new Map<
    BudgetObjective,
    { shares: Set<number>; counts: Set<number>; bad: Set<number> }
  >();
  for (const alarm of alarms) {
    if (alarm.kind === 'bound') continue;
    const found = windows.get(alarm.objective) ?? {
      shares: new Set<number>(),
      counts: new Set<number>(),
      bad: new Set<number>(),
    };
    windows.set(alarm.objective, found);
    if (alarm.kind === 'few') {
      found.counts.add(alarm.few.within);
      found.bad.add(alarm.few.within);
      continue;
    }
    for (const { long, short } of alarm.windows) {
      found.shares.add(long).add(short);
      found.counts.add(long);
    }
  }
  return [...windows].flatMap(([objective, { shares, counts, bad }]) => {
    const labels = { objective: objective.name };
    return [
      ...[...shares].map((window) => ({
        record: shareName(window),
        expr: share(objective, window),
        labels,
      })),
      ...[...counts].map((window) => ({
        record: countName(window),
        expr: `sum by (job) (increase(${ranged(allOf(objective), window)}))`,
        labels,
      })),
      ...[...bad].map((window) => ({
        record: badName(window),
        expr: badCount(objective, window),
        labels,
      })),
    ];
  });
}

function alert(alarm: Alarm): Rule[] {
  const { objective, severity } = alarm;
  const labels = { severity, objective: objective.name };
  const rule = (expr: string, lasting?: number): Rule => ({
    alert: alarm.alarm,
    expr,
    ...(lasting === undefined ? {} : { for: formatDuration(lasting) }),
    labels,
    annotations: {
      summary: `Objective missed: ${objective.summary}`,
      runbook: runbook(alarm.alarm),
    },
  });
  const of = `{objective="${objective.name}"}`;
  if (alarm.kind === 'burn') {
    const pairs = alarm.windows.map((window) => {
      const most = burnThreshold(alarm.objective, window);
      return [
        `${shareName(window.long)}${of} > ${most}`,
        `and ${shareName(window.short)}${of} > ${most}`,
        `and ${countName(window.long)}${of} >= ${alarm.objective.least}`,
      ].join('\n');
    });
    return [rule(pairs.length === 1 ? pairs[0]! : pairs.map((pair) => `(${pair})`).join('\nor\n'))];
  }
  if (alarm.kind === 'few') {
    const { within, count } = alarm.few;
    return [
      rule(
        `${badName(within)}${of} >= ${count}\nand ${countName(within)}${of} < ${alarm.objective.least}`,
      ),
    ];
  }
  const { prometheus, below, lasting } = alarm.objective;
  if ('missing' in prometheus) return [];
  // A range in the expression already covers the duration.
  const isRange = /\[\w+\]/.test(prometheus.expression);
  return [rule(`${prometheus.expression} >= ${below}`, isRange ? undefined : lasting)];
}

function shareName(window: number): string {
  return `vitrina:bad:share${formatDuration(window)}`;
}

function countName(window: number): string {
  return `vitrina:all:increase${formatDuration(window)}`;
}

function badName(window: number): string {
  return `vitrina:bad:increase${formatDuration(window)}`;
}

function share(objective: BudgetObjective, window: number): string {
  const all = `sum by (job) (rate(${ranged(allOf(objective), window)}))`;
  if (objective.kind === 'quantile') {
    return `1 - sum by (job) (rate(${ranged(fastBucket(objective), window)})) / ${all}`;
  }
  // Without bad events their series does not exist; the share must then be 0, not absent.
  const bad = `sum by (job) (rate(${ranged(objective.prometheus.bad, window)}))`;
  return `(${bad} or 0 * ${all}) / ${all}`;
}

function badCount(objective: BudgetObjective, window: number): string {
  if (objective.kind === 'quantile') {
    const all = `sum by (job) (increase(${ranged(allOf(objective), window)}))`;
    return `${all} - sum by (job) (increase(${ranged(fastBucket(objective), window)}))`;
  }
  // A route's first failure creates its series, so `increase` does not count it. The difference of sums
  // counts it, but does not handle restarts. The expression takes the greater of the two.
  const { bad } = objective.prometheus;
  const increased = `sum by (job) (increase(${ranged(bad, window)}))`;
  const now = `sum by (job) (${bad})`;
  const gained = `(${now} - (sum by (job) (${bad} offset ${formatDuration(window)}) or 0 * ${now}))`;
  return `${gained} >= ${increased} or ${increased} or ${gained}`;
}

function allOf(objective: BudgetObjective): string {
  if (objective.kind === 'ratio') return objective.prometheus.all;
  return selector(`${objective.prometheus.histogram}_count`, objective.prometheus.match);
}

/** The bucket with the promised limit as upper bound; a test checks that the code has it. */
function fastBucket({ prometheus, within }: QuantileObjective): string {
  const bound = prometheus.unit === 's' ? within : within * 1_000;
  const le = `le="${bound}"`;
  return selector(
    `${prometheus.histogram}_bucket`,
    prometheus.match === undefined ? le : `${prometheus.match},${le}`,
  );
}

function selector(name: string, match: string | undefined): string {
  return match === undefined ? name : `${name}{${match}}`;
}

function ranged(series: string, window: number): string {
  return `${series}[${formatDuration(window)}]`;
}
