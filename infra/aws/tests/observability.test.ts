import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { parse } from 'yaml';
import { alarmsOf } from '../lib/alarms';
import { readObjectives } from '../lib/objectives';
import { Observability } from '../lib/observability';
import { ROOT } from '../lib/paths';
import { queuesOf, readRules } from '../lib/routes';

const OBJECTIVES_READ = readObjectives();
const QUEUES = queuesOf(readRules());

interface AlarmProperties {
  AlarmDescription: string;
  AlarmActions?: unknown[];
  OKActions?: unknown[];
  Period?: number;
  EvaluationPeriods: number;
  Threshold: number;
  TreatMissingData: string;
  MetricName?: string;
  Metrics?: { Expression?: string; MetricStat?: { Period: number; Stat: string } }[];
}

function synthesised(settings: { sleeps: boolean; budgets: boolean }, queues = QUEUES): Template {
  const stack = new Stack(new App(), 'Vitrina-test');
  const api = lambda.Function.fromFunctionName(stack, 'Api', 'catalog-api');
  new Observability(stack, 'Observability', {
    stage: 'test',
    apiId: 'abc',
    functions: { 'catalog-api': api },
    queues: queues.map((name) => ({
      name,
      queue: new sqs.Queue(stack, `${name}Queue`),
      deadLetters: new sqs.Queue(stack, `${name}DeadLetters`),
    })),
    table: new dynamodb.TableV2(stack, 'Table', {
      partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING },
    }),
    topic: new sns.Topic(stack, 'Topic'),
    metricsNamespace: 'Vitrina/test',
    ...settings,
  });
  return Template.fromStack(stack);
}

function alarms(template: Template): AlarmProperties[] {
  return ['AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm'].flatMap((type) =>
    Object.values(template.findResources(type)).map((it) => it['Properties'] as AlarmProperties),
  );
}

test('each alarm notifies and names its runbook', () => {
  const notifying = alarms(synthesised({ sleeps: false, budgets: true })).filter(
    ({ AlarmActions }) => AlarmActions !== undefined,
  );
  const expected = alarmsOf(OBJECTIVES_READ);
  assert.equal(notifying.length, expected.length);
  for (const { alarm, severity, objective } of expected) {
    const found = notifying.filter(
      ({ AlarmDescription }) =>
        AlarmDescription.startsWith(severity) &&
        AlarmDescription.includes(objective.summary) &&
        AlarmDescription.endsWith(`infra/runbooks/${alarm}.md`),
    );
    assert.equal(found.length, 1, `${alarm} of ${objective.name}, ${severity}`);
    assert.equal(found[0]?.OKActions !== undefined, severity === 'page');
  }
});

test('budget alarm fires only when both windows agree', () => {
  const template = synthesised({ sleeps: false, budgets: true });
  const composed = Object.values(template.findResources('AWS::CloudWatch::CompositeAlarm'));
  const rules = composed.map((it) => {
    const parts = (it['Properties'] as { AlarmRule: { 'Fn::Join': [string, unknown[]] } })
      .AlarmRule['Fn::Join'][1];
    return parts
      .map((part) =>
        typeof part === 'string' ? part : (part as { 'Fn::GetAtt': string[] })['Fn::GetAtt'][0],
      )
      .join('');
  });
  const page = rules.find((rule) => rule.includes('failedrequests1hat144'));
  assert.ok(page !== undefined, rules.join('\n'));
  assert.match(
    page.replaceAll('"', ''),
    /^\(\(ALARM\(\w*failedrequests1hat144\w*\) AND ALARM\(\w*failedrequests5mat144\w*\)\) OR \(ALARM\(\w*failedrequests6hat6\w*\) AND ALARM\(\w*failedrequests30mat6\w*\)\)\)$/,
  );
  for (const { AlarmActions, AlarmDescription } of alarms(template)) {
    if (AlarmDescription.includes('half of a pair')) assert.equal(AlarmActions, undefined);
  }
});

test('each window is one datapoint with a minimum event count', () => {
  const found = alarms(synthesised({ sleeps: false, budgets: true }));
  const shares = found.filter(({ Metrics }) =>
    Metrics?.some((it) => it.Expression?.startsWith('IF(all >=')),
  );
  assert.ok(shares.length >= 20, String(shares.length));
  for (const { Metrics, EvaluationPeriods, TreatMissingData, Threshold } of shares) {
    const periods = new Set(Metrics?.flatMap((it) => it.MetricStat?.Period ?? []));
    assert.equal(periods.size, 1);
    const [period] = periods;
    assert.ok(period !== undefined && period * EvaluationPeriods <= 604_800);
    assert.ok(period >= 3_600 || period * EvaluationPeriods <= 86_400);
    assert.equal(TreatMissingData, 'notBreaching');
    assert.ok(Threshold > 0 && Threshold < 1);
  }
  const hour = shares.find((it) =>
    it.Metrics?.some(
      (metric) => metric.MetricStat?.Stat === 'PR(:300)' && metric.MetricStat.Period === 3_600,
    ),
  );
  assert.equal(hour?.Threshold, 0.72);
  assert.equal(
    hour?.Metrics?.find((it) => it.Expression)?.Expression,
    'IF(all >= 100, (all * (1 - fast / 100)) / all, 0)',
  );
});

test('missing data alarms except in a sleeping stage', () => {
  const alarming = (sleeps: boolean) =>
    alarms(synthesised({ sleeps, budgets: false }))
      .filter(({ TreatMissingData }) => TreatMissingData === 'breaching')
      .map(({ MetricName }) => MetricName)
      .sort();
  assert.deepEqual(alarming(false), [
    'buckets_oldest_checked_seconds',
    'outbox_oldest_pending_seconds',
  ]);
  assert.deepEqual(alarming(true), []);
});

test('dead letters of each queue have an alarm', () => {
  const template = synthesised({ sleeps: false, budgets: false }, ['catalog', 'orders']);
  const watched = Object.values(template.findResources('AWS::CloudWatch::Alarm'))
    .map((it) => it['Properties'] as AlarmProperties & { Dimensions?: { Value: unknown }[] })
    .filter(({ AlarmDescription }) => AlarmDescription.endsWith('infra/runbooks/dead-letters.md'));
  const dead = Object.keys(template.findResources('AWS::SQS::Queue')).filter((name) =>
    name.includes('DeadLetters'),
  );
  assert.equal(dead.length, 2);
  assert.deepEqual(
    watched.map(({ Dimensions }) => Dimensions?.map(({ Value }) => Value)),
    dead.map((name) => [{ 'Fn::GetAtt': [name, 'QueueName'] }]),
  );
  for (const { AlarmActions } of watched) assert.ok(AlarmActions !== undefined);
  assert.deepEqual(
    watched.map(({ AlarmDescription }) => /, queue ([^.]*)\./.exec(AlarmDescription)?.[1]),
    ['catalog', 'orders'],
  );
});

test('without budgets all alarms are on single metrics', () => {
  const template = synthesised({ sleeps: true, budgets: false });
  template.resourceCountIs('AWS::CloudWatch::CompositeAlarm', 0);
  const found = alarms(template);
  assert.equal(
    found.length,
    // Each queue has its own alarm for the one objective of dead letters.
    OBJECTIVES_READ.objectives.filter(({ kind }) => kind === 'bound').length + QUEUES.length - 1,
  );
  for (const { MetricName } of found) assert.ok(MetricName !== undefined);
});

test('cost model has the right alarm counts', () => {
  const { watching } = parse(readFileSync(join(ROOT, 'infra/workloads.yaml'), 'utf8')) as {
    watching: Record<string, { alarm_metrics: number; composites: number }>;
  };
  const counted = (budgets: boolean) => {
    const template = synthesised({ sleeps: !budgets, budgets });
    const plain = Object.values(template.findResources('AWS::CloudWatch::Alarm'));
    const metrics = plain.map((it) => {
      const { Metrics } = it['Properties'] as AlarmProperties;
      return Metrics === undefined ? 1 : Metrics.filter((metric) => metric.MetricStat).length;
    });
    return {
      alarm_metrics: metrics.reduce((sum, count) => sum + count, 0),
      composites: Object.keys(template.findResources('AWS::CloudWatch::CompositeAlarm')).length,
    };
  };
  assert.deepEqual(watching['with_budgets'], counted(true));
  assert.deepEqual(watching['without_budgets'], counted(false));
});

test('alarms and dashboards have no fixed name', () => {
  const template = synthesised({ sleeps: false, budgets: true });
  const named = Object.values(template.findResources('AWS::CloudWatch::Dashboard')).filter(
    (it) => (it['Properties'] as { DashboardName?: string }).DashboardName !== undefined,
  );
  assert.deepEqual(named, []);
  for (const resource of Object.values(template.findResources('AWS::CloudWatch::Alarm'))) {
    assert.equal((resource['Properties'] as { AlarmName?: string }).AlarmName, undefined);
  }
  for (const resource of Object.values(template.findResources('AWS::CloudWatch::CompositeAlarm'))) {
    assert.match((resource['Properties'] as { AlarmName: string }).AlarmName, /^Vitrinatest/);
  }
});
