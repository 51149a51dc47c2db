import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ROUTES } from '../lib/api';
import { readRouting, readRules, type Routing } from '../lib/routes';
import { EPHEMERAL, functions, ofType, PRODUCTION, synthesise, type Resource } from './fixture';

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
  const { Environment } = functions(resources)[names[0]!]!.Properties;
  assert.deepEqual(Environment.Variables['VITRINA_QUEUE_URL_CATALOG'], { Ref: queueName });
  assert.deepEqual(Environment.Variables['VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG'], {
    Ref: deadName,
  });
  const may = permissions(resources, names[0]!);
  assert.deepEqual(may(queueName), FOR_OPERATORS.queue);
  assert.deepEqual(may(deadName), FOR_OPERATORS.deadLetters);
});

const FOR_OPERATORS = {
  queue: ['sqs:GetQueueAttributes', 'sqs:SendMessage'],
  deadLetters: [
    'sqs:ChangeMessageVisibility',
    'sqs:DeleteMessage',
    'sqs:GetQueueAttributes',
    'sqs:ReceiveMessage',
  ],
};

/** What a function may do with a queue. */
function permissions(
  resources: Record<string, Resource>,
  name: string,
): (queue: string) => string[] {
  const role = functions(resources)[name]!.Properties['Role']['Fn::GetAtt'][0] as string;
  const allowed = ofType(resources, 'AWS::IAM::Policy')
    .filter(([, policy]) => JSON.stringify(policy.Properties['Roles']).includes(role))
    .flatMap(([, policy]) => policy.Properties['PolicyDocument'].Statement as any[]);
  return (queue) =>
    allowed
      .filter(({ Resource }) => JSON.stringify(Resource).includes(`"${queue}"`))
      .flatMap(({ Action }) => [Action].flat() as string[])
      .sort();
}

/** Two queues. Any function can stand for the consumer of the second one. */
const TWO_QUEUES: Routing = {
  rules: [
    ...readRules(),
    { queue: 'order-mail', eventPattern: { source: ['vitrina.orders'], 'detail-type': ['Paid'] } },
  ],
  consumers: { ...readRouting().consumers, 'order-mail': 'inventory-relay' },
};

/** The logical ids of the second queue and of its dead letters. */
function secondQueue(resources: Record<string, Resource>): { queue: string; dead: string } {
  const names = ofType(resources, 'AWS::SQS::Queue').map(([name]) => name);
  const queue = names.find((name) => name.startsWith('MessagingOrderMailQueue'));
  const dead = names.find((name) => name.startsWith('MessagingOrderMailDeadLetters'));
  return { queue: queue!, dead: dead! };
}

const KEPT = [
  'AWS::SQS::Queue',
  'AWS::SQS::QueuePolicy',
  'AWS::Events::Rule',
  'AWS::Lambda::EventSourceMapping',
  'AWS::CloudWatch::Alarm',
];

for (const [place, rules] of [
  ['last', TWO_QUEUES.rules],
  ['first', [...TWO_QUEUES.rules.slice(-1), ...TWO_QUEUES.rules.slice(0, -1)]],
] as const) {
  test(`second queue put ${place} changes nothing of the first one`, () => {
    const one = synthesise(PRODUCTION);
    const two = synthesise(PRODUCTION, { ...TWO_QUEUES, rules });
    for (const type of KEPT) {
      const before = ofType(one.resources, type);
      assert.ok(before.length > 0, type);
      for (const [name, resource] of before) assert.deepEqual(two.resources[name], resource, name);
    }
    const outputs = two.json['Outputs'] as Record<string, unknown>;
    const before = Object.entries(one.json['Outputs'] as Record<string, unknown>);
    assert.ok(before.some(([name]) => name === 'DeadLetterQueueUrl'));
    for (const [name, output] of before) assert.deepEqual(outputs[name], output, name);
  });
}

test('rule of the second queue delivers to it and to its dead letters', () => {
  const { resources } = synthesise(PRODUCTION, TWO_QUEUES);
  const { queue, dead } = secondQueue(resources);
  const rule = ofType(resources, 'AWS::Events::Rule')
    .map(([, found]) => found.Properties)
    .find(({ EventPattern }) => EventPattern.source.includes('vitrina.orders'))!;
  assert.deepEqual(rule['EventPattern']['detail-type'], ['Paid']);
  assert.deepEqual(rule['Targets'][0].Arn, { 'Fn::GetAtt': [queue, 'Arn'] });
  assert.deepEqual(rule['Targets'][0].DeadLetterConfig.Arn, { 'Fn::GetAtt': [dead, 'Arn'] });
});

test('operators reach every queue and its dead letters', () => {
  const { resources, json } = synthesise(PRODUCTION, TWO_QUEUES);
  const { queue, dead } = secondQueue(resources);
  const variables = functions(resources)['sync-api']!.Properties['Environment'].Variables;
  assert.deepEqual(
    Object.keys(variables).filter((name) => name.includes('QUEUE_URL')),
    [
      'VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG',
      'VITRINA_DEAD_LETTER_QUEUE_URL_ORDER_MAIL',
      'VITRINA_QUEUE_URL_CATALOG',
      'VITRINA_QUEUE_URL_ORDER_MAIL',
    ],
  );
  assert.deepEqual(variables['VITRINA_QUEUE_URL_ORDER_MAIL'], { Ref: queue });
  assert.deepEqual(variables['VITRINA_DEAD_LETTER_QUEUE_URL_ORDER_MAIL'], { Ref: dead });
  const may = permissions(resources, 'sync-api');
  assert.deepEqual(may(queue), FOR_OPERATORS.queue);
  assert.deepEqual(may(dead), FOR_OPERATORS.deadLetters);
  const outputs = json['Outputs'] as Record<string, { Value: unknown }>;
  assert.deepEqual(outputs['DeadLetterQueueUrlOrderMail']!.Value, { Ref: dead });
});

test('consumer of the second queue is connected to it alone', () => {
  const { resources } = synthesise(PRODUCTION, TWO_QUEUES);
  const { queue, dead } = secondQueue(resources);
  const variables = functions(resources)['inventory-relay']!.Properties['Environment'].Variables;
  assert.deepEqual(variables['VITRINA_QUEUE_URL'], { Ref: queue });
  assert.deepEqual(variables['VITRINA_DEAD_LETTER_QUEUE_URL'], { Ref: dead });
  const may = permissions(resources, 'inventory-relay');
  assert.deepEqual(may(dead), ['sqs:SendMessage']);
  const projector = permissions(resources, 'catalog-projector');
  assert.deepEqual([...projector(queue), ...projector(dead)], []);
});

test('queue without a consumer is refused', () => {
  const routing = { ...TWO_QUEUES, consumers: readRouting().consumers };
  assert.throws(() => synthesise(PRODUCTION, routing), /no function consumes the queue order-mail/);
});

test('function with two queues is refused', () => {
  const consumers = { ...TWO_QUEUES.consumers, 'order-mail': 'catalog-projector' } as const;
  assert.throws(
    () => synthesise(PRODUCTION, { ...TWO_QUEUES, consumers }),
    /catalog-projector consumes two queues: catalog and order-mail/,
  );
});

test('consumer of a queue without a rule is refused', () => {
  assert.throws(
    () => synthesise(PRODUCTION, { ...TWO_QUEUES, rules: readRules() }),
    /inventory-relay consumes the queue order-mail, which no rule feeds/,
  );
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
