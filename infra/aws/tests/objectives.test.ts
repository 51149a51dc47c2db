import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { alarmsOf, burnThreshold } from '../lib/alarms';
import { parseObjectives } from '../lib/objectives';
import { OBJECTIVES, RULES, RUNBOOKS } from '../lib/paths';
import { missingMetrics, prometheusRules } from '../lib/prometheus';
import { Faults } from '../lib/reader';

const TEXT = readFileSync(OBJECTIVES, 'utf8');

function faultsOf(text: string): string[] {
  try {
    parseObjectives(text);
  } catch (error) {
    assert.ok(error instanceof Faults, String(error));
    return error.all;
  }
  return [];
}

test('objectives match the design', () => {
  const { objectives } = parseObjectives(TEXT);
  const promised = objectives.map((objective) => {
    const { name } = objective;
    if (objective.kind === 'bound') return [name, objective.below];
    if (objective.kind === 'ratio') return [name, objective.budget];
    return [name, objective.quantile, objective.within];
  });
  assert.deepEqual(promised, [
    ['failed-requests', 0.01],
    ['reads-p50', 0.5, 0.1],
    ['reads-p95', 0.95, 0.3],
    ['reads-p99', 0.99, 0.5],
    ['lag', 0.99, 1.5],
    ['oldest-pending', 120],
    ['dead-letters', 1],
    ['drift', 1],
    ['unreconciled-buckets', 26 * 3600],
  ]);
});

test('burn windows match the design', () => {
  const objectives = parseObjectives(TEXT);
  const windows = objectives.windows.map(({ long, short, burn, severity }) => [
    long / 60,
    short / 60,
    burn,
    severity,
  ]);
  assert.deepEqual(windows, [
    [60, 5, 14.4, 'page'],
    [360, 30, 6, 'page'],
    [4320, 360, 1, 'ticket'],
  ]);
});

test('every burn threshold is reachable', () => {
  const alarms = alarmsOf(parseObjectives(TEXT));
  const limits = alarms.flatMap((alarm) =>
    alarm.kind === 'burn'
      ? alarm.windows.map((window) => burnThreshold(alarm.objective, window))
      : [],
  );
  assert.ok(limits.length > 10);
  assert.deepEqual(
    limits.filter((burnThreshold) => burnThreshold >= 1),
    [],
  );
  const half = alarms.filter((alarm) => alarm.objective.name === 'reads-p50');
  assert.deepEqual(
    half.map((alarm) => alarm.severity),
    ['ticket'],
  );
});

test('every fault is reported with its path', () => {
  const wrong = TEXT.replace('burn: 14.4', 'burn: -1')
    .replace('short: 30m', 'short: 30 minutes')
    .replace('at_most: 1%', 'at_most: 120%')
    .replace('kind: quantile\n    quantile: 50%', 'kind: median\n    quantile: 50%')
    .replace('name: reads-p95', 'name: reads-p99')
    .replace('within: 500ms', 'wihtin: 500ms')
    .replace('statistic: Maximum, service: sync', 'statistic: Median, service: sync')
    .replace('missing: alarm', 'missing: whatever')
    .replace('service: sync, role: reconcile }', 'service: sync }')
    .replace(
      'severity: ticket\n    cloudwatch:\n      { source: dead',
      'cloudwatch:\n      { source: dead',
    );
  const faults = faultsOf(wrong);
  const expected = [
    'windows[0].burn: must be above 0',
    'windows[1].short: must be a duration such as 100ms, 5m or 3d',
    'objectives[0].at_most: must be a share above 0% and below 100%',
    'objectives[1].kind: must be one of ratio, quantile, bound',
    'objectives[3].within: is missing',
    'objectives[3].wihtin: is unknown',
    'objectives[5].missing: must be one of alarm, fine',
    'objectives[6].severity: is missing',
    'objectives[7].cloudwatch.role: is missing',
    'objectives: reads-p99 is not unique',
  ];
  for (const fault of expected)
    assert.ok(faults.includes(fault), `${fault} is not in\n${faults.join('\n')}`);
});

test('unknown kind is reported as one fault', () => {
  const faults = faultsOf(TEXT.replace('kind: bound', 'kind: gauge'));
  assert.deepEqual(faults, ['objectives[5].kind: must be one of ratio, quantile, bound']);
});

test('objective without a reachable threshold is refused', () => {
  const faults = faultsOf(
    TEXT.replace('  - { long: 3d, short: 6h, burn: 1, severity: ticket }\n', ''),
  );
  assert.deepEqual(faults, [
    'objectives[1].name: no window can fire: each burn rate requires more bad events than there are events',
  ]);
});

test('incomplete documents are refused', () => {
  for (const text of ['', '[]', 'period: 30d\n', 'windows: []\nobjectives: {}\nperiod: 30d\n']) {
    assert.notDeepEqual(faultsOf(text), [], text);
  }
});

test('Prometheus rules are up to date', () => {
  assert.equal(readFileSync(RULES, 'utf8'), prometheusRules(parseObjectives(TEXT)));
});

test('missing metrics have no rule', () => {
  const objectives = parseObjectives(TEXT);
  const rules = prometheusRules(objectives);
  for (const metric of missingMetrics(objectives)) assert.ok(!rules.includes(metric), metric);
});

test('alarms and runbooks match one to one', () => {
  const alarms = new Set(alarmsOf(parseObjectives(TEXT)).map(({ alarm }) => alarm));
  const pages = readdirSync(RUNBOOKS).filter((file) => file !== 'README.md');
  assert.deepEqual(pages.sort(), [...alarms].map((alarm) => `${alarm}.md`).sort());
});

test('each runbook has all four sections', () => {
  for (const file of readdirSync(RUNBOOKS).filter((file) => file !== 'README.md')) {
    const page = readFileSync(`${RUNBOOKS}/${file}`, 'utf8');
    const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
    assert.deepEqual(
      headings,
      [file.replace('.md', ''), 'What it means', 'Diagnose', 'Fix', 'Verify'],
      file,
    );
    for (const part of page.split(/^## .*$/m).slice(1)) assert.ok(part.trim().length > 40, file);
  }
});
