/**
 * The objectives of `infra/slo.yaml`, read once and checked: whoever gets them need not doubt them, and
 * whoever wrote them wrong is told everything that is wrong at once.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { OBJECTIVES } from './paths';
import { Faults, Reader } from './reader';

export const SEVERITIES = ['page', 'ticket'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** A pair of windows, both of which must burn at the rate. */
export interface Window {
  /** In seconds, as every duration here. */
  readonly long: number;
  readonly short: number;
  readonly burn: number;
  readonly severity: Severity;
}

/** Where the AWS edition measures: at the gateway, in the queue of dead letters, or in the code. */
export type CloudWatchSource =
  | { readonly source: 'api' | 'dead-letters'; readonly metric: string; readonly statistic: string }
  | {
      readonly source: 'code';
      readonly metric: string;
      readonly statistic: string;
      readonly service: string;
      readonly role: string;
    };

/** A histogram of the code, in CloudWatch. */
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

/** Counts where there are too few requests for a share of them to say anything. */
export interface Few {
  readonly alarm: string;
  readonly count: number;
  readonly within: number;
  readonly severity: Severity;
}

interface Named {
  readonly name: string;
  readonly says: string;
  readonly alarm: string;
}

interface Budgeted extends Named {
  /** The share of all that may be bad, between 0 and 1. */
  readonly budget: number;
  /** How many there must be in the long window for their share to count. */
  readonly least: number;
  readonly few?: Few | undefined;
}

/** At most so many of all are bad. */
export interface RatioObjective extends Budgeted {
  readonly kind: 'ratio';
  readonly cloudwatch: { readonly bad: CloudWatchSource; readonly all: CloudWatchSource };
  readonly prometheus: { readonly bad: string; readonly all: string };
}

/** So many of all take at most so long. */
export interface QuantileObjective extends Budgeted {
  readonly kind: 'quantile';
  readonly quantile: number;
  readonly within: number;
  readonly cloudwatch: CloudWatchValues;
  readonly prometheus: PrometheusHistogram;
}

/** A figure stays below a bound. */
export interface BoundObjective extends Named {
  readonly kind: 'bound';
  readonly below: number;
  readonly unit: string;
  readonly missing: 'alarm' | 'fine';
  readonly lasting: number;
  readonly severity: Severity;
  readonly cloudwatch: CloudWatchSource;
  /** An expression, or the metric that would be needed and that the code does not have. */
  readonly prometheus: { readonly expression: string } | { readonly missing: string };
}

export type Objective = RatioObjective | QuantileObjective | BoundObjective;
export type BudgetObjective = RatioObjective | QuantileObjective;

export interface Objectives {
  readonly period: number;
  readonly windows: readonly Window[];
  readonly objectives: readonly Objective[];
}

/** CloudWatch evaluates no alarm over more than a week. */
const LONGEST_WINDOW = 7 * 86_400;

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const METRIC = /^[A-Za-z0-9_]+$/;

/** The objectives of `infra/slo.yaml`. */
export function readObjectives(): Objectives {
  return parseObjectives(readFileSync(OBJECTIVES, 'utf8'));
}

/** The objectives in `text`; throws `Faults` with everything that is wrong with it. */
export function parseObjectives(text: string): Objectives {
  const faults = new Faults();
  const root = new Reader(parse(text) as unknown, '', faults);
  const period = root.duration('period');
  const windows = root.list('windows').map(readWindow);
  const objectives = root.list('objectives').flatMap((reader) => readObjective(reader, windows));
  root.nothingElse();
  duplicates(objectives.map((objective) => objective.name)).forEach((name) =>
    faults.add('objectives', `${name} is there twice`),
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
  reader.nothingElse();
  return window;
}

function readObjective(reader: Reader, windows: readonly Window[]): Objective[] {
  const named = {
    name: reader.text('name', NAME),
    says: reader.text('says'),
    alarm: reader.text('alarm', NAME),
  };
  const read = { ratio: readRatio, quantile: readQuantile, bound: readBound };
  const kind = reader.oneOf('kind', Object.keys(read) as (keyof typeof read)[]);
  // Of what kind it is nobody knows: whatever else was said of it would be guessed.
  if (!reader.holds('kind', kind)) return [];
  const objective: Objective = read[kind](reader, named);
  reader.nothingElse();
  if (objective.kind !== 'bound' && objective.budget > 0 && windows.length > 0) {
    if (!windows.some((window) => canFire(objective, window))) {
      reader.fault(
        'name',
        'no window can fire: at each burn rate more than all would have to be bad',
      );
    }
  }
  return [objective];
}

/** Whether there can be so many bad ones: of half of all, fourteen times as many cannot. */
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
    few: readFew(reader),
    cloudwatch: {
      bad: readSource(cloudwatch.map('bad')),
      all: readSource(cloudwatch.map('all')),
    },
    prometheus: { bad: prometheus.text('bad'), all: prometheus.text('all') },
  };
  cloudwatch.nothingElse();
  prometheus.nothingElse();
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
    few: readFew(reader),
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
  // Percentile ranks need single values, which only the code's own metrics are known to keep.
  cloudwatch.oneOf('source', ['code'] as const);
  cloudwatch.nothingElse();
  prometheus.nothingElse();
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
    cloudwatch: readSource(reader.map('cloudwatch')),
    prometheus: prometheus.has('missing')
      ? { missing: prometheus.text('missing', METRIC) }
      : { expression: prometheus.text('expression') },
  };
  prometheus.nothingElse();
  return objective;
}

function readFew(parent: Reader): Few | undefined {
  if (!parent.has('few')) return undefined;
  const reader = parent.map('few');
  const few = {
    alarm: reader.text('alarm', NAME),
    count: reader.number('count', { above: 0, whole: true }),
    within: reader.duration('within'),
    severity: reader.oneOf('severity', SEVERITIES),
  };
  reader.nothingElse();
  return few;
}

function readSource(reader: Reader): CloudWatchSource {
  const source = reader.oneOf('source', ['api', 'dead-letters', 'code'] as const);
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
  reader.nothingElse();
  return found;
}

function duplicates(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, at) => names.indexOf(name) !== at))];
}
