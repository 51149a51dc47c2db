/** Retention, removal and isolation of stages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  EPHEMERAL,
  EXPIRES,
  functions,
  ofType,
  PRODUCTION,
  synthesise,
  type Resource,
} from './fixture';

/** Resource types with data. */
const STATEFUL = [
  'AWS::DynamoDB::Table',
  'AWS::RDS::DBCluster',
  'AWS::Cognito::UserPool',
  'AWS::SQS::Queue',
];

/** Fixed names that are only unique within their parent resource. */
const NAMED_WITHIN_ITS_PARENT = new Set(['live', '$default', 'buyer', 'seller', 'operator']);

const NAME = /^(Name|.*Name|.*Identifier)$/;

function physicalNames(resources: Record<string, Resource>): string[] {
  return Object.values(resources).flatMap(({ Type, Properties }) =>
    Object.entries(Properties ?? {})
      .filter(([key, value]) => NAME.test(key) && typeof value === 'string')
      .filter(
        ([key]) =>
          ![
            'DatabaseName',
            'AttributeName',
            'MasterUsername',
            'ServiceName',
            'MetricName',
          ].includes(key),
      )
      .map(([, value]) => String(value))
      .filter((value) => !NAMED_WITHIN_ITS_PARENT.has(value))
      .map((value) => `${Type} ${value}`),
  );
}

test('two stages of an account share no name', () => {
  const one = physicalNames(synthesise(EPHEMERAL).resources);
  const other = physicalNames(synthesise({ ...EPHEMERAL, stage: 'branch-43' }).resources);
  // CloudFormation generates most names; a bus must have an explicit one.
  assert.ok(
    one.some((name) => name.startsWith('AWS::Events::EventBus ')),
    one.join('\n'),
  );
  const common = one
    .filter((name) => other.includes(name))
    // These are parts of a uniquely named resource.
    .filter((name) => !/^AWS::(ApiGatewayV2::Authorizer|IAM::Policy) /.test(name));
  assert.deepEqual(common, []);
});

test('production data survives destruction', () => {
  const { resources } = synthesise(PRODUCTION);
  for (const type of STATEFUL) {
    const found = ofType(resources, type);
    assert.ok(found.length > 0, type);
    for (const [name, resource] of found) {
      assert.equal(resource.DeletionPolicy, 'Retain', name);
      assert.equal(resource.UpdateReplacePolicy, 'Retain', name);
    }
  }
  const only = (type: string): Record<string, unknown> => ofType(resources, type)[0]![1].Properties;
  assert.equal(only('AWS::RDS::DBCluster')['DeletionProtection'], true);
  assert.equal(only('AWS::DynamoDB::Table')['DeletionProtectionEnabled'], true);
  assert.equal(only('AWS::Cognito::UserPool')['DeletionProtection'], 'ACTIVE');
});

test('ephemeral stage leaves no resource behind', () => {
  const { resources } = synthesise(EPHEMERAL);
  for (const [name, resource] of Object.entries(resources)) {
    // A version is deleted with its function.
    if (resource.Type === 'AWS::Lambda::Version') continue;
    assert.notEqual(resource.DeletionPolicy, 'Retain', name);
    assert.notEqual(resource.DeletionPolicy, 'Snapshot', name);
    for (const [key, value] of Object.entries(resource.Properties ?? {})) {
      if (!key.startsWith('DeletionProtection')) continue;
      assert.ok(value === false || value === 'INACTIVE' || value === undefined, `${name}.${key}`);
    }
  }
  const [, cluster] = ofType(resources, 'AWS::RDS::DBCluster')[0]!;
  assert.equal(cluster.DeletionPolicy, 'Delete');
  // RDS would create a log group outside the stack.
  assert.deepEqual(cluster.Properties['EnableCloudwatchLogsExports'] ?? [], []);
  for (const [name, bucket] of ofType(resources, 'AWS::S3::Bucket')) {
    const cleaners = ofType(resources, 'Custom::S3AutoDeleteObjects').map(([, cleaner]) =>
      JSON.stringify(cleaner.Properties['BucketName']),
    );
    assert.equal(bucket.DeletionPolicy, 'Delete', name);
    assert.ok(cleaners.includes(JSON.stringify({ Ref: name })), `${name} is not emptied`);
  }
});

test('all log groups belong to the stage and expire', () => {
  for (const given of [PRODUCTION, EPHEMERAL]) {
    const { resources } = synthesise(given);
    for (const [name, resource] of ofType(resources, 'AWS::Lambda::Function')) {
      // CDK adds these at the end of synthesis; an ephemeral stage must not have them.
      if (given === PRODUCTION && name.startsWith('CustomCrossRegionExport')) continue;
      const group = resource.Properties['LoggingConfig']?.['LogGroup']?.['Ref'] as string;
      assert.ok(resources[group] !== undefined, `${name} has no log group`);
    }
    for (const [name, group] of ofType(resources, 'AWS::Logs::LogGroup')) {
      assert.ok(Number(group.Properties['RetentionInDays']) <= 31, name);
    }
  }
});

test('resources are tagged with stage and expiry', () => {
  for (const given of [PRODUCTION, EPHEMERAL]) {
    const { resources } = synthesise(given);
    for (const resource of [
      ...Object.values(functions(resources)),
      ...ofType(resources, 'AWS::DynamoDB::Table').map(([, table]) => table),
      ...ofType(resources, 'AWS::RDS::DBCluster').map(([, cluster]) => cluster),
      ...ofType(resources, 'AWS::SQS::Queue').map(([, queue]) => queue),
    ]) {
      const tags = new Map(
        (resource.Properties['Tags'] as { Key: string; Value: string }[]).map((tag) => [
          tag.Key,
          tag.Value,
        ]),
      );
      assert.equal(tags.get('vitrina:stage'), given['stage']);
      assert.equal(tags.get('vitrina:expires'), given === EPHEMERAL ? EXPIRES : undefined);
    }
  }
});

test('nothing runs on a schedule while the database may sleep', () => {
  const { resources } = synthesise(EPHEMERAL);
  const [, cluster] = ofType(resources, 'AWS::RDS::DBCluster')[0]!;
  const scaling = cluster.Properties['ServerlessV2ScalingConfiguration'];
  assert.equal(scaling['MinCapacity'], 0);
  assert.equal(scaling['SecondsUntilAutoPause'], 300);
  assert.deepEqual(ofType(resources, 'AWS::Scheduler::Schedule'), []);
  assert.deepEqual(
    ofType(resources, 'AWS::Events::Rule').filter(
      ([, rule]) => rule.Properties['ScheduleExpression'],
    ),
    [],
  );
});

test('relay follows every writer in a sleeping stage', () => {
  const { resources } = synthesise(EPHEMERAL);
  const filters = ofType(resources, 'AWS::Logs::SubscriptionFilter').map(([, filter]) => [
    filter.Properties['LogGroupName']['Ref'],
    filter.Properties['DestinationArn']['Ref'],
    filter.Properties['FilterPattern'],
  ]);
  const named = (text: string): string[] =>
    Object.keys(resources).filter((name) => name.includes(text));
  const follows = (first: string, then: string): boolean =>
    filters.some(
      ([group, alias]) =>
        named(`Services${first}Logs`).includes(group) &&
        named(`Services${then}Live`).includes(alias),
    );
  assert.ok(follows('inventoryapi', 'inventoryrelay'));
  assert.ok(follows('syncreconcile', 'inventoryrelay'));
  assert.ok(follows('syncapi', 'syncreconcile'));
  const [, again] = ofType(resources, 'AWS::SQS::Queue').find(([name]) => name.includes('Again'))!;
  assert.equal(again.Properties['DelaySeconds'], 60);
  assert.equal(again.Properties['RedrivePolicy'], undefined);
  const [, onFailure] = ofType(resources, 'AWS::Lambda::EventInvokeConfig')[0]!;
  const destination = onFailure.Properties['DestinationConfig']['OnFailure']['Destination'];
  assert.match(JSON.stringify(destination), /Again/);
  const mappings = ofType(resources, 'AWS::Lambda::EventSourceMapping');
  assert.ok(
    mappings.some(
      ([, mapping]) =>
        JSON.stringify(mapping.Properties['EventSourceArn']).includes('Again') &&
        JSON.stringify(mapping.Properties['FunctionName']).includes('inventoryrelayLive'),
    ),
  );
});

test('other stages run relay and reconciliation on a schedule', () => {
  const { resources } = synthesise(PRODUCTION);
  const rates = ofType(resources, 'AWS::Scheduler::Schedule').map(([, schedule]) => [
    JSON.stringify(schedule.Properties['Target']['Arn']).match(/(relay|reconcile)Live/)?.[1],
    schedule.Properties['ScheduleExpression'],
  ]);
  assert.deepEqual(Object.fromEntries(rates), {
    relay: 'rate(1 minute)',
    reconcile: 'rate(5 minutes)',
  });
});
