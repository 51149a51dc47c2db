import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ROUTES } from '../lib/api';
import { readRules } from '../lib/routes';
import { EPHEMERAL, functions, ofType, PRODUCTION, synthesise } from './fixture';

const DAYS = 24 * 60 * 60;

function queues(): { queue: any; dead: any; deadName: string; queueName: string } {
  const { resources } = synthesise(PRODUCTION);
  const all = ofType(resources, 'AWS::SQS::Queue');
  const [queueName, queue] = all.find(([, { Properties }]) => Properties['RedrivePolicy'])!;
  const [deadName, dead] = all.find(([, { Properties }]) => !Properties['RedrivePolicy'])!;
  return { queue: queue.Properties, dead: dead.Properties, deadName, queueName };
}

test('failed messages go to the dead letters for 14 days', () => {
  const { queue, dead, deadName } = queues();
  assert.deepEqual(queue.RedrivePolicy.deadLetterTargetArn, { 'Fn::GetAtt': [deadName, 'Arn'] });
  assert.equal(dead.MessageRetentionPeriod, 14 * DAYS);
  // The projector dead-letters a message itself after five failures.
  assert.ok(queue.RedrivePolicy.maxReceiveCount >= 8);
});

test('visibility timeout is six times the projector timeout', () => {
  const { queue } = queues();
  const projector = functions(synthesise(PRODUCTION).resources)['catalog-projector']!.Properties;
  assert.ok(queue.VisibilityTimeout >= 6 * projector['Timeout']);
});

test('queues are encrypted and require TLS', () => {
  for (const given of [PRODUCTION, EPHEMERAL]) {
    const { resources } = synthesise(given);
    for (const [name, queue] of ofType(resources, 'AWS::SQS::Queue')) {
      assert.equal(queue.Properties['SqsManagedSseEnabled'], true, name);
      const refused = ofType(resources, 'AWS::SQS::QueuePolicy').some(
        ([, policy]) =>
          JSON.stringify(policy.Properties['Queues']).includes(name) &&
          policy.Properties['PolicyDocument'].Statement.some(
            (statement: any) =>
              statement.Effect === 'Deny' &&
              statement.Condition?.Bool?.['aws:SecureTransport'] === 'false',
          ),
      );
      assert.ok(refused, `${name} accepts requests without TLS`);
    }
  }
});

test('rule routes all inventory events to the queue', () => {
  const { resources } = synthesise(PRODUCTION);
  const { queueName, deadName } = queues();
  const [[, rule]] = ofType(resources, 'AWS::Events::Rule') as [[string, any]];
  assert.deepEqual(rule.Properties.EventPattern, { source: ['vitrina.inventory'] });
  const [target] = rule.Properties.Targets;
  assert.deepEqual(target.Arn, { 'Fn::GetAtt': [queueName, 'Arn'] });
  assert.deepEqual(target.DeadLetterConfig.Arn, { 'Fn::GetAtt': [deadName, 'Arn'] });
});

test('each rule of the routes is in the template', () => {
  const { resources } = synthesise(PRODUCTION);
  const patterns = ofType(resources, 'AWS::Events::Rule').map(
    ([, rule]) => (rule as any).Properties.EventPattern,
  );
  assert.deepEqual(
    patterns,
    readRules().map(({ eventPattern }) => eventPattern),
  );
  assert.deepEqual([...new Set(readRules().map(({ queue }) => queue))], ['catalog']);
});

test('dead-letter api has its permissions on both queues', () => {
  const { resources } = synthesise(PRODUCTION);
  const { queueName, deadName } = queues();
  const routes = ROUTES.filter(({ path }) => /^\/v1\/admin\/(queues|dead-letters)/.test(path));
  assert.deepEqual(
    routes.map(({ path }) => path),
    ['/v1/admin/queues', '/v1/admin/dead-letters', '/v1/admin/dead-letters/{proxy+}'],
  );
  const names = [...new Set(routes.map((route) => route.function))];
  assert.equal(names.length, 1);
  const { Environment, Role } = functions(resources)[names[0]!]!.Properties;
  assert.deepEqual(Environment.Variables['VITRINA_QUEUE_URL'], { Ref: queueName });
  assert.deepEqual(Environment.Variables['VITRINA_DEAD_LETTER_QUEUE_URL'], { Ref: deadName });
  const role = Role['Fn::GetAtt'][0] as string;
  const allowed = ofType(resources, 'AWS::IAM::Policy')
    .filter(([, policy]) => JSON.stringify(policy.Properties['Roles']).includes(role))
    .flatMap(([, policy]) => policy.Properties['PolicyDocument'].Statement as any[]);
  const may = (queue: string): string[] =>
    allowed
      .filter(({ Resource }) => JSON.stringify(Resource).includes(queue))
      .flatMap(({ Action }) => [Action].flat() as string[])
      .sort();
  assert.deepEqual(may(queueName), ['sqs:GetQueueAttributes', 'sqs:SendMessage']);
  assert.deepEqual(may(deadName), [
    'sqs:ChangeMessageVisibility',
    'sqs:DeleteMessage',
    'sqs:GetQueueAttributes',
    'sqs:ReceiveMessage',
  ]);
});

test('only failed messages of a batch are retried', () => {
  const { resources } = synthesise(PRODUCTION);
  const { queueName } = queues();
  const [, mapping] = ofType(resources, 'AWS::Lambda::EventSourceMapping').find(([, found]) =>
    JSON.stringify(found.Properties['EventSourceArn']).includes(queueName),
  )!;
  assert.deepEqual(mapping.Properties['FunctionResponseTypes'], ['ReportBatchItemFailures']);
  const projector = functions(resources)['catalog-projector']!.Properties;
  assert.equal(
    mapping.Properties['ScalingConfig'].MaximumConcurrency,
    projector['ReservedConcurrentExecutions'],
  );
});
