import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';

import { databaseRole } from '../lib/data';
import { connectionFault, connectionLimit } from '../lib/functions';
import type { Service } from '../lib/settings';
import {
  EMULATOR,
  EPHEMERAL,
  functions,
  ofType,
  PRODUCTION,
  ROOT,
  settings,
  synthesise,
  type Resource,
} from './fixture';

/** The table definition in the service's code. */
function tableInCode(): { indexes: string[][]; card: string[]; source: string } {
  const source = fs.readFileSync(path.join(ROOT, 'services/catalog/src/store/table.rs'), 'utf8');
  const quoted = (text: string): string[] =>
    [...text.matchAll(/"([^"]+)"/g)].map(([, name]) => name!);
  const constant = (name: string): string =>
    source.match(new RegExp(`pub const ${name}:[^=]*=\\s*\\[(.*?)\\];`, 's'))![1]!;
  const flat = quoted(constant('INDEXES'));
  const indexes = [];
  while (flat.length > 0) indexes.push(flat.splice(0, 3));
  return { indexes, card: quoted(constant('CARD')), source };
}

test('table matches the one that the service creates locally', () => {
  const { indexes, card, source } = tableInCode();
  assert.equal(indexes.length, 6);
  const { resources } = synthesise(PRODUCTION);
  const [[, { Properties: table }]] = ofType(resources, 'AWS::DynamoDB::Table') as [[string, any]];
  const keys = (schema: { AttributeName: string; KeyType: string }[]): string[] => [
    schema.find(({ KeyType }) => KeyType === 'HASH')!.AttributeName,
    schema.find(({ KeyType }) => KeyType === 'RANGE')!.AttributeName,
  ];
  assert.deepEqual(keys(table.KeySchema), ['bucket', 'id']);
  assert.match(source, /key\("bucket", KeyType::Hash\)/);
  assert.match(source, /key\("id", KeyType::Range\)/);
  assert.deepEqual(
    table.GlobalSecondaryIndexes.map((index: any) => [index.IndexName, ...keys(index.KeySchema)]),
    indexes,
  );
  for (const index of table.GlobalSecondaryIndexes) {
    assert.equal(index.Projection.ProjectionType, 'INCLUDE');
    assert.deepEqual(index.Projection.NonKeyAttributes, card);
  }
  const types = Object.fromEntries(
    table.AttributeDefinitions.map((definition: any) => [
      definition.AttributeName,
      definition.AttributeType,
    ]),
  );
  assert.equal(types['bucket'], 'N');
  assert.match(source, /attribute\("bucket", ScalarAttributeType::N\)/);
  for (const [name, type] of Object.entries(types)) {
    if (name !== 'bucket') assert.equal(type, 'S', name);
  }
  const expiry = source.match(/attribute_name\("([^"]+)"\)\s*\.enabled\(true\)/)![1];
  assert.deepEqual(table.TimeToLiveSpecification, { AttributeName: expiry, Enabled: true });
  assert.equal(table.BillingMode, 'PAY_PER_REQUEST');
  assert.equal(table.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled, true);
});

test('functions stay within the connection limit', () => {
  for (const given of [PRODUCTION, EPHEMERAL, { stage: 'sandbox' }]) {
    const { resources } = synthesise(given);
    const opened = Object.values(functions(resources))
      .map(({ Properties }) => {
        const pool = Number(
          Properties['Environment']['Variables']['VITRINA_DATABASE_CONNECTIONS'] ?? 0,
        );
        const concurrency = Number(Properties['ReservedConcurrentExecutions']);
        assert.ok(concurrency > 0);
        return pool * concurrency;
      })
      .reduce((sum, connections) => sum + connections, 0);
    assert.ok(opened > 0);
    const [, parameters] = ofType(resources, 'AWS::RDS::DBClusterParameterGroup')[0]!;
    const limit = Number(parameters.Properties['Parameters']['max_connections']);
    const [, cluster] = ofType(resources, 'AWS::RDS::DBCluster')[0]!;
    const smallest = cluster.Properties['ServerlessV2ScalingConfiguration'][
      'MinCapacity'
    ] as number;
    assert.equal(limit, connectionLimit(smallest));
    assert.ok(opened + 15 <= limit, `${opened} of ${limit}`);
  }
});

test('too high api concurrency for the database is refused', () => {
  assert.equal(connectionFault(0.5, 20), undefined);
  assert.match(connectionFault(0.5, 100)!, /apiConcurrency: 100 lets functions open/);
  assert.equal(connectionFault(4, 100), undefined);
});

test('only migrations use a database password', () => {
  const { resources } = synthesise(PRODUCTION);
  const [, cluster] = ofType(resources, 'AWS::RDS::DBCluster')[0]!;
  assert.equal(cluster.Properties['ManageMasterUserPassword'], true);
  assert.equal(cluster.Properties['MasterUserPassword'], undefined);
  assert.equal(cluster.Properties['EnableIAMDatabaseAuthentication'], true);
  assert.equal(cluster.Properties['StorageEncrypted'], true);
  const reading = Object.entries(functions(resources)).filter(([, resource]) => {
    const variables = resource.Properties['Environment']['Variables'] as Record<string, unknown>;
    return 'VITRINA_DATABASE_SECRET' in variables;
  });
  assert.deepEqual(reading.map(([name]) => name).sort(), ['inventory-migrate', 'sync-migrate']);
  for (const [name, { Properties }] of Object.entries(functions(resources))) {
    const variables = Properties['Environment']['Variables'] as Record<string, unknown>;
    if (!('DATABASE_URL' in variables) || name.endsWith('-migrate')) continue;
    assert.equal(variables['VITRINA_DATABASE_AUTH'], 'iam', name);
    assert.match(JSON.stringify(variables['DATABASE_URL']), /sslmode=verify-full/, name);
  }
});

/** The database roles that a role of IAM may log in as. */
function databaseRoles(resources: Record<string, Resource>, iamRole: string): string[] {
  const statements = ofType(resources, 'AWS::IAM::Policy')
    .filter(([, policy]) => JSON.stringify(policy.Properties['Roles']).includes(iamRole))
    .flatMap(([, policy]) => policy.Properties['PolicyDocument'].Statement as any[]);
  return statements
    .filter(({ Action }) => [Action].flat().includes('rds-db:connect'))
    .flatMap(({ Resource: resource }) => [resource].flat())
    .map((arn) => JSON.stringify(arn).match(/dbuser:.*\/(\w+)"/)![1]!)
    .sort();
}

test('each function logs in as the role of its service and as no other', () => {
  for (const given of [PRODUCTION, { ...PRODUCTION, databaseProxy: true }]) {
    const { resources } = synthesise(given);
    for (const [name, { Properties }] of Object.entries(functions(resources))) {
      const variables = Properties['Environment']['Variables'] as Record<string, unknown>;
      const own = databaseRole(name.split('-')[0] as Service);
      const user = JSON.stringify(variables['DATABASE_URL'])?.match(/postgres:\/\/(\w+)@/)?.[1];
      const usesRole = 'DATABASE_URL' in variables && !name.endsWith('-migrate');
      assert.equal(user, usesRole ? own : undefined, name);
      const allowed = databaseRoles(resources, Properties['Role']['Fn::GetAtt'][0] as string);
      assert.deepEqual(allowed, usesRole ? [own] : [], name);
      const created = variables['VITRINA_DATABASE_APP_USER'];
      assert.equal(created, name.endsWith('-migrate') ? own : undefined, name);
    }
  }
});

test('with an external database, functions log in as the role of their service too', () => {
  for (const [name, { Properties }] of Object.entries(functions(synthesise(EMULATOR).resources))) {
    const { DATABASE_URL: url } = Properties['Environment']['Variables'] as Record<string, string>;
    if (url === undefined) continue;
    const own = databaseRole(name.split('-')[0] as Service);
    assert.equal(new URL(url).username, name.endsWith('-migrate') ? '' : own, name);
  }
});

test('proxy serves the functions but not migrations', () => {
  const { resources } = synthesise({ ...PRODUCTION, databaseProxy: true });
  const [[proxy, { Properties }]] = ofType(resources, 'AWS::RDS::DBProxy') as [[string, any]];
  assert.equal(Properties.DefaultAuthScheme, 'IAM_AUTH');
  assert.equal(Properties.RequireTLS, true);
  const role = Properties.RoleArn['Fn::GetAtt'][0] as string;
  assert.deepEqual(databaseRoles(resources, role), ['vitrina_inventory', 'vitrina_sync']);
  for (const [name, resource] of Object.entries(functions(resources))) {
    const url = JSON.stringify(
      resource.Properties['Environment']['Variables']['DATABASE_URL'] ?? '',
    );
    const through = url.includes(proxy);
    assert.equal(
      through,
      ['inventory-api', 'inventory-relay', 'sync-api', 'sync-reconcile'].includes(name),
      name,
    );
  }
});

test('only functions can reach PostgreSQL', () => {
  const { resources } = synthesise(PRODUCTION);
  const [, cluster] = ofType(resources, 'AWS::RDS::DBCluster')[0]!;
  const group = cluster.Properties['VpcSecurityGroupIds'][0]['Fn::GetAtt'][0] as string;
  const ingress = ofType(resources, 'AWS::EC2::SecurityGroupIngress').filter(
    ([, rule]) => rule.Properties['GroupId']['Fn::GetAtt'][0] === group,
  );
  assert.equal(ingress.length, 1);
  assert.match(
    JSON.stringify(ingress[0]![1].Properties['SourceSecurityGroupId']),
    /NetworkFunctions/,
  );
  assert.equal(resources[group]!.Properties['SecurityGroupIngress'], undefined);
  for (const [, instance] of ofType(resources, 'AWS::RDS::DBInstance')) {
    assert.equal(instance.Properties['PubliclyAccessible'], false);
  }
  assert.equal(settings(PRODUCTION).database.kind, 'aurora');
});
