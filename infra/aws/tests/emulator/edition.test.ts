/**
 * The AWS edition on an emulator: deployed with the guide's commands, tested over HTTP, with injected
 * faults, and destroyed. The tests build on each other and run in order.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { after, before, describe, test } from 'node:test';

import {
  CloudFormationClient,
  DescribeStackEventsCommand,
  DescribeStacksCommand,
} from '@aws-sdk/client-cloudformation';
import {
  AdminAddUserToGroupCommand,
  AdminConfirmSignUpCommand,
  CognitoIdentityProviderClient,
  InitiateAuthCommand,
  SignUpCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import { DescribeLogGroupsCommand, CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import {
  DeleteItemCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ListTablesCommand,
} from '@aws-sdk/client-dynamodb';
import { GetAliasCommand, LambdaClient, ListFunctionsCommand } from '@aws-sdk/client-lambda';
import { ListSchedulesCommand, SchedulerClient } from '@aws-sdk/client-scheduler';
import {
  GetQueueAttributesCommand,
  ListQueuesCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';

import { commands, type Shell } from './guide';
import { eventually } from './wait';
import { TestBed } from './test_bed';

const GUIDE = path.join(__dirname, '../../../README.md');
const STAGE = 'sandbox';

let bed: TestBed;
let shell: Shell;
let outputs: Record<string, string>;

async function outputsOf(stage: string): Promise<Record<string, string>> {
  const client = new CloudFormationClient(bed.client);
  const name = `Vitrina-${stage}`;
  const { Stacks } = await client.send(new DescribeStacksCommand({ StackName: name }));
  return Object.fromEntries(Stacks![0]!.Outputs!.map((o) => [o.OutputKey!, o.OutputValue!]));
}

/** Creates user `number` of a role and returns its token. */
async function tokenOf(role: string, number = 2): Promise<string> {
  const client = new CognitoIdentityProviderClient(bed.client);
  const [ClientId, UserPoolId] = [outputs['UserPoolClientId']!, outputs['UserPoolId']!];
  const [Username, Password] = [`${role}-${number}@example.com`, 'Correct-horse-1'];
  await client.send(new SignUpCommand({ ClientId, Username, Password }));
  await client.send(new AdminConfirmSignUpCommand({ UserPoolId, Username }));
  await client.send(new AdminAddUserToGroupCommand({ UserPoolId, Username, GroupName: role }));
  const { AuthenticationResult } = await client.send(
    new InitiateAuthCommand({
      ClientId,
      AuthFlow: 'USER_PASSWORD_AUTH',
      AuthParameters: { USERNAME: Username, PASSWORD: Password },
    }),
  );
  return AuthenticationResult!.AccessToken!;
}

interface ApiResponse {
  status: number;
  body: any;
  headers: Headers;
}

async function request(
  method: string,
  route: string,
  { token, body, headers = {} }: { token?: string; body?: object; headers?: object } = {},
): Promise<ApiResponse> {
  const response = await fetch(`${outputs['ApiUrl']}${route}`, {
    method,
    headers: {
      'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = text.startsWith('{') ? (JSON.parse(text) as object) : text;
  return { status: response.status, body: json, headers: response.headers };
}

let created = 0;

async function create(token: string): Promise<string> {
  created += 1;
  const { status, body } = await request('POST', '/v1/products', {
    token,
    body: {
      sku: `SKU-${created}`,
      name: `Product ${created}`,
      category: 'shoes',
      price: { amount: 12_990, currency: 'BRL' },
      stock: { on_hand: 5 },
    },
  });
  assert.equal(status, 201, JSON.stringify(body));
  return body.id as string;
}

async function listed(id: string): Promise<any> {
  const { status, body } = await request('GET', `/v1/catalog/products/${id}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** The bucket of a listing: the last ten bits of its id. */
function bucketOf(id: string): string {
  return String(Number.parseInt(id.replaceAll('-', '').slice(-3), 16) & 0x3ff);
}

before(async () => {
  bed = await TestBed.start();
  bed.writeStage(STAGE);
  shell = bed.shell();
});

after(async () => {
  shell?.end();
  await bed?.stop();
});

test('guide deploys a stage and creates a product', async () => {
  await shell.run(commands(GUIDE, 'bootstrap'));
  await shell.run(commands(GUIDE, 'deploy'));
  const output = await shell.run(commands(GUIDE, 'first product'));
  assert.match(output, /"sku": ?"SHOE-42"/);
  outputs = await outputsOf(STAGE);
});

describe('a deployed stage', () => {
  let seller: string;
  let operator: string;

  before(async () => {
    seller = await tokenOf('seller');
    operator = await tokenOf('operator');
  });

  test('catalogue follows a product from create to delete', async () => {
    const id = await create(seller);
    await eventually('it is listed', () => listed(id));
    const changed = await request('PATCH', `/v1/products/${id}`, {
      token: seller,
      body: { price: { amount: 9_990, currency: 'BRL' } },
      headers: { 'if-match': '"v1"' },
    });
    assert.equal(changed.status, 200, JSON.stringify(changed.body));
    await eventually('its new price is listed', async () => {
      assert.equal((await listed(id)).price.amount, 9_990);
    });
    const page = await request(
      'GET',
      '/v1/catalog/products?category=shoes&sort=price&in_stock=true',
    );
    assert.equal(page.status, 200);
    assert.match(page.headers.get('cache-control') ?? '', /max-age/);
    const gone = await request('DELETE', `/v1/products/${id}`, {
      token: seller,
      headers: { 'if-match': '"v2"' },
    });
    assert.ok([200, 204].includes(gone.status), JSON.stringify(gone.body));
    await eventually('it is not listed any more', async () => {
      assert.equal((await request('GET', `/v1/catalog/products/${id}`)).status, 404);
    });
  });

  test('README walkthrough works on AWS', async () => {
    const readme = fs.readFileSync(path.join(GUIDE, '../../../README.md'), 'utf8');
    const shown = readme.match(/<!-- tested -->\n\n```sh\n(.*?)```/s)![1]!;
    // A version may take longer to arrive than a request waits.
    const curl = 'curl --silent --show-error --fail --retry 100 --retry-max-time 300 ';
    const output = await shell.run(
      shown
        .replaceAll('curl ', curl)
        .replaceAll('http://127.0.0.1:8080', outputs['ApiUrl']!.replace('$', '\\$'))
        .replaceAll('target/release/vitrina token seller', `echo ${seller}`)
        .replaceAll('target/release/vitrina token operator', `echo ${operator}`),
    );
    assert.match(output, /"amount":9990/);
    assert.match(output, /"state":"in the listing"/);
    assert.doesNotMatch(output, /"status":[45]/, output);
  });

  test('vitrina trace works on a stage', async () => {
    const id = await create(seller);
    await eventually('it is listed', () => listed(id));
    const output = await shell.run(
      `VITRINA_TOKEN=${operator} VITRINA_URL='${outputs['ApiUrl']!}' \\
       "\$VITRINA_CLI" trace ${id}`,
    );
    assert.match(output, /in the listing/);
    assert.match(output, /^ {2}projected /m);
  });

  test('documentation and problem pages are public', async () => {
    const refused = await request('POST', '/v1/products', { token: seller, body: {} });
    assert.equal(refused.status, 422, JSON.stringify(refused.body));
    for (const route of ['/docs', '/docs/problems', '/openapi.json', refused.body.type]) {
      const page = await fetch(`${outputs['ApiUrl']!}${route}`);
      assert.equal(page.status, 200, route);
    }
  });

  test('check-stage passes', async () => {
    // By URL, because the AWS CLI ignores the endpoint setting for SQS.
    const url = outputs['ApiUrl']!;
    await shell.run(`VITRINA_URL='${url}' VITRINA_SELLER_TOKEN=${seller} ./check-stage`);
  });

  test('end-to-end checks of the local edition pass', async () => {
    const own = await tokenOf('seller', 3);
    const output = await shell.run(
      `VITRINA_TEST_URL='${outputs['ApiUrl']!}' VITRINA_TEST_SELLER=${own} \\
       VITRINA_TEST_OPERATOR=${operator} \\
       cargo test -q --locked -p vitrina --test it whole_path 2>&1 || true`,
    );
    assert.match(output, /1 passed/, output);
  });

  test('missing or invalid tokens are refused', async () => {
    assert.equal((await request('POST', '/v1/products', { body: {} })).status, 401);
    assert.equal((await request('POST', '/v1/products', { token: 'x.y.z', body: {} })).status, 401);
    assert.equal((await request('GET', '/v1/admin/outbox', { token: seller })).status, 403);
  });

  test('unreadable message is dead-lettered again after redrive', async () => {
    const sqs = new SQSClient(bed.client);
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: outputs['QueueUrl']!,
        MessageBody: '{"detail": nothing}',
      }),
    );
    const deadLetters = async (): Promise<any[]> => {
      const response = await request('GET', '/v1/admin/dead-letters', { token: operator });
      assert.equal(response.status, 200, JSON.stringify(response.body));
      return response.body.data as any[];
    };
    const [deadLetter] = await eventually('it is dead-lettered', async () => {
      const found = await deadLetters();
      assert.equal(found.length, 1);
      return found;
    });
    assert.ok(deadLetter.reason.length > 0);
    // With the same commands as for the local edition.
    const vitrina = (args: string): Promise<string> =>
      shell.run(
        `VITRINA_TOKEN=${operator} VITRINA_URL='${outputs['ApiUrl']!}' \\
         "\$VITRINA_CLI" ${args}`,
      );
    await eventually('the dead letter is counted', async () => {
      // Exit code 3 also means that an operator is needed.
      const status = JSON.parse(await vitrina('status -o json || test $? = 3')) as {
        dead_letters: number;
        outbox_pending: number;
        lag_p50: number | null;
      };
      assert.deepEqual([status.dead_letters, status.outbox_pending, status.lag_p50], [1, 0, null]);
    });
    const redriven = await vitrina('dlq redrive --all 2>&1');
    assert.match(redriven, /^1 redriven$/m, redriven);
    // It is still unreadable, so it is dead-lettered again as a new message.
    await eventually('it is dead-lettered again', async () => {
      const [again] = await deadLetters();
      assert.ok(again !== undefined && again.dead_at !== deadLetter.dead_at);
    });
  });

  describe('recovery through the schedule', { concurrency: true }, () => {
    let lost: string;

    before(async () => {
      lost = await create(seller);
      await eventually('it is listed', () => listed(lost));
    });

    test('throttled event is published later', async () => {
      const id = await bed.bus.while(async () => {
        const created = await create(seller);
        await eventually('the bus refuses it', () => assert.ok(bed.bus.refused > 0));
        return created;
      });
      await eventually('the relay has published it', () => listed(id));
      const { body } = await request('GET', '/v1/admin/outbox', { token: operator });
      assert.equal(body.pending, 0, JSON.stringify(body));
    });

    test('reconciliation restores a lost listing', async () => {
      await new DynamoDBClient(bed.client).send(
        new DeleteItemCommand({
          TableName: outputs['ListingsTable']!,
          Key: { bucket: { N: bucketOf(lost) }, id: { S: lost } },
        }),
      );
      assert.equal((await request('GET', `/v1/catalog/products/${lost}`)).status, 404);
      const accepted = await request('POST', '/v1/admin/reconciliations', {
        token: operator,
        body: {},
      });
      assert.equal(accepted.status, 202, JSON.stringify(accepted.body));
      await eventually('it is listed again', () => listed(lost));
      await eventually('the report counts the repair', async () => {
        const { body } = await request('GET', `/v1/admin/reconciliations/${accepted.body.id}`, {
          token: operator,
        });
        assert.equal(body.state, 'finished', JSON.stringify(body));
        assert.ok(body.missing >= 1 && body.repaired >= 1, JSON.stringify(body));
      });
    });
  });

  test('failed migration leaves the old version serving', async () => {
    const broken = path.join(bed.folder, 'broken');
    const artifacts = process.env['VITRINA_ARTIFACTS']!;
    fs.cpSync(artifacts, broken, { recursive: true });
    const inventory = path.join(broken, 'inventory');
    fs.renameSync(path.join(inventory, 'bootstrap'), path.join(inventory, 'program'));
    // Only the migration fails; all other roles work.
    const script =
      '#!/bin/sh\n[ "$VITRINA_ROLE" = migrate ] && exit 1\nexec "$(dirname "$0")/program"\n';
    fs.writeFileSync(path.join(inventory, 'bootstrap'), script, { mode: 0o755 });
    const lambda = new LambdaClient(bed.client);
    const { Functions: functions } = await lambda.send(new ListFunctionsCommand({}));
    const live = async (): Promise<(string | undefined)[]> =>
      Promise.all(
        functions!
          .map(({ FunctionName }) => FunctionName!)
          .filter((name) => /inventory(api|relay)/.test(name))
          .sort()
          .map(async (FunctionName) => {
            const alias = new GetAliasCommand({ FunctionName, Name: 'live' });
            return (await lambda.send(alias)).FunctionVersion;
          }),
      );
    const versions = await live();
    assert.equal(versions.length, 2);
    const output = await shell.run(
      `! npx cdk deploy --all -c stage=$STAGE -c artifacts=${broken} --require-approval never 2>&1`,
    );
    assert.match(output, /ROLLBACK/, output);
    const { StackEvents: events } = await new CloudFormationClient(bed.client).send(
      new DescribeStackEventsCommand({ StackName: `Vitrina-${STAGE}` }),
    );
    const failed = events!.filter(({ ResourceStatus }) => ResourceStatus!.endsWith('_FAILED'));
    assert.deepEqual(
      [...new Set(failed.map(({ ResourceType }) => ResourceType))],
      ['Custom::Trigger'],
    );
    assert.deepEqual(await live(), versions);
    const id = await create(seller);
    await eventually('a new product is listed', () => listed(id));
  });

  test('guide deploys a new version and rolls it back', async () => {
    await shell.run(commands(GUIDE, 'next version'));
    await shell.run(commands(GUIDE, 'rollback'));
    const id = await create(seller);
    await eventually('a new product is listed', () => listed(id));
  });
});

test('guide destroys a stage and keeps its data', async () => {
  await shell.run(commands(GUIDE, 'destroy'));
  const { Functions } = await new LambdaClient(bed.client).send(new ListFunctionsCommand({}));
  assert.deepEqual(
    Functions!
      .map(({ FunctionName }) => FunctionName)
      .filter((name) => name!.startsWith('Vitrina')),
    [],
  );
  const table = new DescribeTableCommand({ TableName: outputs['ListingsTable']! });
  const described = await new DynamoDBClient(bed.client).send(table);
  assert.equal(described.Table!.TableStatus, 'ACTIVE');
  for (const name of ['QueueUrl', 'DeadLetterQueueUrl']) {
    await new SQSClient(bed.client).send(
      new GetQueueAttributesCommand({ QueueUrl: outputs[name]!, AttributeNames: ['QueueArn'] }),
    );
  }
});

describe('an ephemeral stage with a sleeping database', () => {
  let before: string[];

  /** All resources of the account. */
  async function allResources(): Promise<string[]> {
    const functions = await new LambdaClient(bed.client).send(new ListFunctionsCommand({}));
    const groups = await new CloudWatchLogsClient(bed.client).send(
      new DescribeLogGroupsCommand({}),
    );
    const tables = await new DynamoDBClient(bed.client).send(new ListTablesCommand({}));
    const queues = await new SQSClient(bed.client).send(new ListQueuesCommand({}));
    const schedules = await new SchedulerClient(bed.client).send(new ListSchedulesCommand({}));
    return [
      ...(functions.Functions ?? []).map(({ FunctionName }) => `function ${FunctionName}`),
      ...(groups.logGroups ?? []).map(({ logGroupName }) => `log group ${logGroupName}`),
      ...(tables.TableNames ?? []).map((name) => `table ${name}`),
      ...(queues.QueueUrls ?? []).map((url) => `queue ${url}`),
      ...(schedules.Schedules ?? []).map(({ Name }) => `schedule ${Name}`),
    ].sort();
  }

  test('guide deploys it without schedules', async () => {
    before = await allResources();
    bed.writeStage('branch-42', { databaseMinCapacity: 0 });
    await shell.run(commands(GUIDE, 'branch'));
    outputs = await outputsOf('branch-42');
    const { Schedules } = await new SchedulerClient(bed.client).send(new ListSchedulesCommand({}));
    assert.deepEqual(Schedules, []);
  });

  test('relay publishes events that the API left pending', async () => {
    const seller = await tokenOf('seller');
    const refused = bed.bus.refused;
    bed.bus.refuseOnce();
    const id = await create(seller);
    await eventually('it is listed', () => listed(id));
    assert.equal(bed.bus.refused, refused + 1);
  });

  test('removal leaves no resource behind', async () => {
    await shell.run(commands(GUIDE, 'remove branch'));
    assert.deepEqual(await allResources(), before);
  });
});
