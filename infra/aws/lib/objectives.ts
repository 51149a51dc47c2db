/**
 * Reads and validates the objectives of `infra/slo.yaml`. Every fault is reported at once, and the returned
 * objectives are valid.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { OBJECTIVES } from './paths';
import { Faults, Reader } from './reader';

export const SEVERITIES = ['page', 'ticket'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** A pair of windows. Both must exceed the burn rate. */
export interface Window {
  /** In seconds, like all durations here. */
  readonly long: number;
  readonly short: number;
  readonly burn: number;
  readonly severity: Severity;
}

/** The source of a metric on AWS: the gateway, each dead-letter queue, or the code. */
export type CloudWatchSource =
  | MetricSource
  | { readonly source: 'dead-letters'; readonly metric: string; readonly statistic: string };

/** A source with one metric. */
export type MetricSource =
  | { readonly source: 'api'; readonly metric: string; readonly statistic: string }
  | {
      readonly source: 'code';
      readonly metric: string;
      readonly statistic: string;
      readonly service: string;
      readonly role: string;
    };

/** A histogram that the code reports to CloudWatch. */
export interface CloudWatchValues {
  readonly metric: string;
  readonly unit: TimeUnit;
  readonly service: string;
  readonly role: string;
}

export type TimeUnit = 'ms' | 's';

export interface PrometheusHistogram {
  readonly histogram: string;
  readonly unit: TimeUnit;
  readonly match?: string | undefined;
}

/** An alarm on a count, for traffic too low for a meaningful share. */
export interface LowTraffic {
  readonly alarm: string;
  readonly count: number;
  readonly within: number;
  readonly severity: Severity;
}

interface Named {
  readonly name: string;
  readonly summary: string;
  readonly alarm: string;
}

interface Budgeted extends Named {
  /** The allowed share of bad events, between 0 and 1. */
  readonly budget: number;
  /** The number of events in the long window below which the share is ignored. */
  readonly least: number;
  readonly few?: LowTraffic | undefined;
}

/** A maximum share of bad events. */
export interface RatioObjective extends Budgeted {
  readonly kind: 'ratio';
  readonly cloudwatch: { readonly bad: MetricSource; readonly all: MetricSource };
  readonly prometheus: { readonly bad: string; readonly all: string };
}

/** A share of events that must complete within a time. */
export interface QuantileObjective extends Budgeted {
  readonly kind: 'quantile';
  readonly quantile: number;
  readonly within: number;
  readonly cloudwatch: CloudWatchValues;
  readonly prometheus: PrometheusHistogram;
}

/** A metric that must stay below a bound. */
export interface BoundObjective extends Named {
  readonly kind: 'bound';
  readonly below: number;
  readonly unit: string;
  readonly missing: 'alarm' | 'fine';
  readonly lasting: number;
  readonly severity: Severity;
  readonly cloudwatch: CloudWatchSource;
  /** An expression, or the name of a metric that the code does not export yet. */
  readonly prometheus: { readonly expression: string } | { readonly missing: string };
}

export type Objective = RatioObjective | QuantileObjective | BoundObjective;
export type BudgetObjective = RatioObjective | QuantileObjective;

export interface Objectives {
  readonly period: number;
  readonly windows: readonly Window[];
  readonly objectives: readonly Objective[];
}

/** CloudWatch evaluates alarms over a week at most. */
const LONGEST_WINDOW = 7 * 86_400;

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const METRIC = /^[A-Za-z0-9_]+$/;

/** Reads the objectives of `infra/slo.yaml`. */
export function readObjectives(): Objectives {
  return parseObjectives(readFileSync(OBJECTIVES, 'utf8'));
}

/** Parses the objectives in `text`; throws `Faults` that names every fault. */
export function parseObjectives(text: string): Objectives {
  const faults = new Faults();
  const root = new Reader(parse(text) as unknown, '', faults);
  const period = root.duration('period');
  const windows = root.list('windows').map(readWindow);
  const objectives = root.list('objectives').flatMap((reader) => readObjective(reader, windows));
  root.rejectUnknownFields();
  duplicates(objectives.map((objective) => objective.name)).forEach((name) =>
    faults.add('objectives', `${name} is not unique`),
  );
  windows.forEach((window, at) => {
    if (window.long > period) faults.add(`windows[${at}].long`, 'is longer than the period');
  });
  faults.throwIfAny();
  return { period, windows, objectives };
}

function readWindow(reader: Reader): Window {
  const window = {
    long: reader.duration('long'),
    short: reader.duration('short'),
    burn: reader.number('burn', { above: 0 }),
    severity: reader.oneOf('severity', SEVERITIES),
  };
  if (window.short >= window.long) reader.fault('short', 'must be shorter than the long window');
  for (const name of ['long', 'short'] as const) {
    if (window[name] > LONGEST_WINDOW) reader.fault(name, 'is longer than a week');
    if (window[name] % 60 !== 0) reader.fault(name, 'is not in whole minutes');
  }
  reader.rejectUnknownFields();
  return window;
}

function readObjective(reader: Reader, windows: readonly Window[]): Objective[] {
  const named = {
    name: reader.text('name', NAME),
    summary: reader.text('summary'),
    alarm: reader.text('alarm', NAME),
  };
  const read = { ratio: readRatio, quantile: readQuantile, bound: readBound };
  const kind = reader.oneOf('kind', Object.keys(read) as (keyof typeof read)[]);
  // Without a valid kind, faults of the other fields would be guesses.
  if (!reader.holds('kind', kind)) return [];
  const objective: Objective = read[kind](reader, named);
  reader.rejectUnknownFields();
  if (objective.kind !== 'bound' && objective.budget > 0 && windows.length > 0) {
    if (!windows.some((window) => canFire(objective, window))) {
      reader.fault(
        'name',
        'no window can fire: each burn rate requires more bad events than there are events',
      );
    }
  }
  return [objective];
}

/** Whether the window's burn rate is reachable: 14.4 times a budget of 50 % is not. */
export function canFire(objective: BudgetObjective, window: Window): boolean {
  return window.burn * objective.budget < 1;
}

function readRatio(reader: Reader, named: Named): RatioObjective {
  const cloudwatch = reader.map('cloudwatch');
  const prometheus = reader.map('prometheus');
  const objective = {
    ...named,
    kind: 'ratio' as const,
    budget: reader.share('at_most'),
    least: reader.number('least', { above: 0, whole: true }),
    few: readLowTraffic(reader),
    cloudwatch: {
      bad: readSource(cloudwatch.map('bad'), ['api', 'code']),
      all: readSource(cloudwatch.map('all'), ['api', 'code']),
    },
    prometheus: { bad: prometheus.text('bad'), all: prometheus.text('all') },
  };
  cloudwatch.rejectUnknownFields();
  prometheus.rejectUnknownFields();
  return objective;
}

function readQuantile(reader: Reader, named: Named): QuantileObjective {
  const cloudwatch = reader.map('cloudwatch');
  const prometheus = reader.map('prometheus');
  const quantile = reader.share('quantile');
  const units = ['ms', 's'] as const;
  const objective = {
    ...named,
    kind: 'quantile' as const,
    quantile,
    // Not 1 - 0.95, which is 0.050000000000000044.
    budget: Math.round((1 - quantile) * 1e9) / 1e9,
    within: reader.duration('within'),
    least: reader.number('least', { above: 0, whole: true }),
    few: readLowTraffic(reader),
    cloudwatch: {
      metric: cloudwatch.text('metric', METRIC),
      unit: cloudwatch.oneOf('unit', units),
      service: cloudwatch.text('service', NAME),
      role: cloudwatch.text('role', NAME),
    },
    prometheus: {
      histogram: prometheus.text('histogram', METRIC),
      unit: prometheus.oneOf('unit', units),
      match: prometheus.has('match') ? prometheus.text('match') : undefined,
    },
  };
  // Percentile ranks need single values, which only the code's metrics are known to have.
  cloudwatch.oneOf('source', ['code'] as const);
  cloudwatch.rejectUnknownFields();
  prometheus.rejectUnknownFields();
  return objective;
}

function readBound(reader: Reader, named: Named): BoundObjective {
  const prometheus = reader.map('prometheus');
  const objective = {
    ...named,
    kind: 'bound' as const,
    below: reader.number('below', { above: 0 }),
    unit: reader.text('unit'),
    missing: reader.oneOf('missing', ['alarm', 'fine'] as const),
    lasting: reader.duration('lasting'),
    severity: reader.oneOf('severity', SEVERITIES),
    cloudwatch: readSource(reader.map('cloudwatch'), ['api', 'dead-letters', 'code']),
    prometheus: prometheus.has('missing')
      ? { missing: prometheus.text('missing', METRIC) }
      : { expression: prometheus.text('expression') },
  };
  prometheus.rejectUnknownFields();
  return objective;
}

function readLowTraffic(parent: Reader): LowTraffic | undefined {
  if (!parent.has('few')) return undefined;
  const reader = parent.map('few');
  const few = {
    alarm: reader.text('alarm', NAME),
    count: reader.number('count', { above: 0, whole: true }),
    within: reader.duration('within'),
    severity: reader.oneOf('severity', SEVERITIES),
  };
  reader.rejectUnknownFields();
  return few;
}

function readSource<S extends CloudWatchSource['source']>(
  reader: Reader,
  sources: readonly S[],
): Extract<CloudWatchSource, { source: S }> {
  const source = reader.oneOf('source', sources);
  const metric = reader.text('metric', METRIC);
  const statistic = reader.oneOf('statistic', ['Sum', 'Maximum'] as const);
  const found =
    source === 'code'
      ? {
          source,
          metric,
          statistic,
          service: reader.text('service', NAME),
          role: reader.text('role', NAME),
        }
      : { source, metric, statistic };
  reader.rejectUnknownFields();
  return found as Extract<CloudWatchSource, { source: S }>;
}

function duplicates(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, at) => names.indexOf(name) !== at))];
}
