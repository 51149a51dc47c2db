/**
 * The AWS edition on an emulator: deployed as the guide says, driven over HTTP, broken where AWS
 * breaks, and destroyed. The tests tell one story, in order.
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
import { World } from './world';

const GUIDE = path.join(__dirname, '../../../README.md');
const STAGE = 'sandbox';
/** A tick comes every minute, and the emulator looks every ten seconds which are due. */
const TICK = 90;

let world: World;
let shell: Shell;
let outputs: Record<string, string>;

async function outputsOf(stage: string): Promise<Record<string, string>> {
  const client = new CloudFormationClient(world.client);
  const name = `Vitrina-${stage}`;
  const { Stacks } = await client.send(new DescribeStacksCommand({ StackName: name }));
  return Object.fromEntries(Stacks![0]!.Outputs!.map((o) => [o.OutputKey!, o.OutputValue!]));
}

/** A token of somebody with a role, of whom there may be several. */
async function tokenOf(role: string, number = 2): Promise<string> {
  const client = new CognitoIdentityProviderClient(world.client);
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

interface Answer {
  status: number;
  body: any;
  headers: Headers;
}

async function ask(
  method: string,
  route: string,
  { token, body, headers = {} }: { token?: string; body?: object; headers?: object } = {},
): Promise<Answer> {
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

let made = 0;

async function create(token: string): Promise<string> {
  made += 1;
  const { status, body } = await ask('POST', '/v1/products', {
    token,
    body: {
      sku: `SKU-${made}`,
      name: `Product ${made}`,
      category: 'shoes',
      price: { amount: 12_990, currency: 'BRL' },
      stock: { on_hand: 5 },
    },
  });
  assert.equal(status, 201, JSON.stringify(body));
  return body.id as string;
}

async function listed(id: string): Promise<any> {
  const { status, body } = await ask('GET', `/v1/catalog/products/${id}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** The bucket of a listing: the last ten bits of its id. */
function bucketOf(id: string): string {
  return String(Number.parseInt(id.replaceAll('-', '').slice(-3), 16) & 0x3ff);
}

before(async () => {
  world = await World.start();
  world.stages(STAGE);
  shell = world.shell();
});

after(async () => {
  shell?.end();
  await world?.stop();
});

test('the guide brings up a stage, and its first product', async () => {
  await shell.run(commands(GUIDE, 'bootstrap'));
  await shell.run(commands(GUIDE, 'deploy'));
  const said = await shell.run(commands(GUIDE, 'first product'));
  assert.match(said, /"sku": ?"SHOE-42"/);
  outputs = await outputsOf(STAGE);
});

describe('a stage that is up', () => {
  let seller: string;
  let operator: string;

  before(async () => {
    seller = await tokenOf('seller');
    operator = await tokenOf('operator');
  });

  test('the catalogue follows a product from its creation to its end', async () => {
    const id = await create(seller);
    await eventually('it is listed', 20, () => listed(id));
    const changed = await ask('PATCH', `/v1/products/${id}`, {
      token: seller,
      body: { price: { amount: 9_990, currency: 'BRL' } },
      headers: { 'if-match': '"v1"' },
    });
    assert.equal(changed.status, 200, JSON.stringify(changed.body));
    await eventually('its new price is listed', 20, async () => {
      assert.equal((await listed(id)).price.amount, 9_990);
    });
    const page = await ask('GET', '/v1/catalog/products?category=shoes&sort=price&in_stock=true');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('cache-control') ?? '', /max-age/);
    const gone = await ask('DELETE', `/v1/products/${id}`, {
      token: seller,
      headers: { 'if-match': '"v2"' },
    });
    assert.ok([200, 204].includes(gone.status), JSON.stringify(gone.body));
    await eventually('it is not listed any more', 20, async () => {
      assert.equal((await ask('GET', `/v1/catalog/products/${id}`)).status, 404);
    });
  });

  test('what the README shows of the local edition works here, word for word', async () => {
    const readme = fs.readFileSync(path.join(GUIDE, '../../../README.md'), 'utf8');
    const shown = readme.match(/<!-- tested -->\n\n```sh\n(.*?)```/s)![1]!;
    const said = await shell.run(
      shown
        .replaceAll('http://127.0.0.1:8080', outputs['ApiUrl']!.replace('$', '\\$'))
        .replaceAll('target/release/vitrina token seller', `echo ${seller}`)
        .replaceAll('target/release/vitrina token operator', `echo ${operator}`),
    );
    assert.match(said, /"amount":9990/);
    assert.match(said, /"state":"in the listing"/);
    assert.doesNotMatch(said, /"status":[45]/, said);
  });

  test('the trace of a change is shown by the command of the local edition', async () => {
    const id = await create(seller);
    await eventually('it is listed', 20, () => listed(id));
    const said = await shell.run(
      `VITRINA_TOKEN=${operator} VITRINA_URL='${outputs['ApiUrl']!}' \\
       cargo run -q --locked -p vitrina -- trace ${id}`,
    );
    assert.match(said, /in the listing/);
    assert.match(said, /^ {2}projected /m);
  });

  test('the documentation and the page of each problem are served without a token', async () => {
    const refused = await ask('POST', '/v1/products', { token: seller, body: {} });
    assert.equal(refused.status, 422, JSON.stringify(refused.body));
    for (const route of ['/docs', '/docs/problems', '/openapi.json', refused.body.type]) {
      const page = await fetch(`${outputs['ApiUrl']!}${route}`);
      assert.equal(page.status, 200, route);
    }
  });

  test('the check that delivery makes of a stage finds nothing', async () => {
    // Not by the name of the stage: for SQS alone, the command line of AWS passes its endpoint over.
    const url = outputs['ApiUrl']!;
    await shell.run(`VITRINA_URL='${url}' VITRINA_SELLER_TOKEN=${seller} ./check-stage`);
  });

  test('the whole path holds what it holds on one machine, by the same checks', async () => {
    const own = await tokenOf('seller', 3);
    const said = await shell.run(
      `VITRINA_TEST_URL='${outputs['ApiUrl']!}' VITRINA_TEST_SELLER=${own} \\
       VITRINA_TEST_OPERATOR=${operator} \\
       cargo test -q --locked -p vitrina --test it whole_path 2>&1 || true`,
    );
    assert.match(said, /1 passed/, said);
  });

  test('whoever has no token, or the wrong one, changes nothing', async () => {
    assert.equal((await ask('POST', '/v1/products', { body: {} })).status, 401);
    assert.equal((await ask('POST', '/v1/products', { token: 'x.y.z', body: {} })).status, 401);
    assert.equal((await ask('GET', '/v1/admin/outbox', { token: seller })).status, 403);
  });

  test('what cannot be read is a dead letter with its reason, and comes back when it is redriven', async () => {
    const sqs = new SQSClient(world.client);
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: outputs['QueueUrl']!,
        MessageBody: '{"detail": nothing}',
      }),
    );
    const letters = async (): Promise<any[]> => {
      const answer = await ask('GET', '/v1/admin/dead-letters', { token: operator });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body.data as any[];
    };
    const [letter] = await eventually('it is buried', 30, async () => {
      const found = await letters();
      assert.equal(found.length, 1);
      return found;
    });
    assert.ok(letter.reason.length > 0);
    // By the very commands that show and mend the local edition.
    const vitrina = (args: string): Promise<string> =>
      shell.run(
        `VITRINA_TOKEN=${operator} VITRINA_URL='${outputs['ApiUrl']!}' \\
         cargo run -q --locked -p vitrina -- ${args}`,
      );
    await eventually('the letter is counted', 30, async () => {
      // That somebody is needed is said by the code 3, too.
      const status = JSON.parse(await vitrina('status -o json || test $? = 3')) as {
        dead_letters: number;
        outbox_pending: number;
        lag_p50: number | null;
      };
      assert.deepEqual([status.dead_letters, status.outbox_pending, status.lag_p50], [1, 0, null]);
    });
    const redriven = await vitrina('dlq redrive --all 2>&1');
    assert.match(redriven, /^1 redriven$/m, redriven);
    // It is no better than it was, so it is buried again, as another message.
    await eventually('it is buried again', 30, async () => {
      const [again] = await letters();
      assert.ok(again !== undefined && again.dead_at !== letter.dead_at);
    });
  });

  describe('what only the schedule mends', { concurrency: true }, () => {
    let lost: string;

    before(async () => {
      lost = await create(seller);
      await eventually('it is listed', 20, () => listed(lost));
    });

    test('an event that the bus throttled is published later', async () => {
      const id = await world.bus.while(async () => {
        const created = await create(seller);
        await eventually('the bus refuses it', 20, () => assert.ok(world.bus.refused > 0));
        return created;
      });
      await eventually('the relay has published it', TICK, () => listed(id));
      const { body } = await ask('GET', '/v1/admin/outbox', { token: operator });
      assert.equal(body.pending, 0, JSON.stringify(body));
    });

    test('reconciliation fires, and brings back a listing that was lost', async () => {
      await new DynamoDBClient(world.client).send(
        new DeleteItemCommand({
          TableName: outputs['ListingsTable']!,
          Key: { bucket: { N: bucketOf(lost) }, id: { S: lost } },
        }),
      );
      assert.equal((await ask('GET', `/v1/catalog/products/${lost}`)).status, 404);
      const asked = await ask('POST', '/v1/admin/reconciliations', { token: operator, body: {} });
      assert.equal(asked.status, 202, JSON.stringify(asked.body));
      await eventually('it is listed again', 2 * TICK, () => listed(lost));
      await eventually('the report says so', TICK, async () => {
        const { body } = await ask('GET', `/v1/admin/reconciliations/${asked.body.id}`, {
          token: operator,
        });
        assert.equal(body.state, 'finished', JSON.stringify(body));
        assert.ok(body.missing >= 1 && body.repaired >= 1, JSON.stringify(body));
      });
    });
  });

  test('a deployment whose migration fails leaves the old version serving', async () => {
    const broken = path.join(world.folder, 'broken');
    const artifacts = process.env['VITRINA_ARTIFACTS']!;
    fs.cpSync(artifacts, broken, { recursive: true });
    const inventory = path.join(broken, 'inventory');
    fs.renameSync(path.join(inventory, 'bootstrap'), path.join(inventory, 'program'));
    // As a migration that meets what it did not expect; whatever else it runs would run.
    const script =
      '#!/bin/sh\n[ "$VITRINA_ROLE" = migrate ] && exit 1\nexec "$(dirname "$0")/program"\n';
    fs.writeFileSync(path.join(inventory, 'bootstrap'), script, { mode: 0o755 });
    const lambda = new LambdaClient(world.client);
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
    const said = await shell.run(
      `! npx cdk deploy --all -c stage=$STAGE -c artifacts=${broken} --require-approval never 2>&1`,
    );
    assert.match(said, /ROLLBACK/, said);
    const { StackEvents: events } = await new CloudFormationClient(world.client).send(
      new DescribeStackEventsCommand({ StackName: `Vitrina-${STAGE}` }),
    );
    const failed = events!.filter(({ ResourceStatus }) => ResourceStatus!.endsWith('_FAILED'));
    assert.deepEqual(
      [...new Set(failed.map(({ ResourceType }) => ResourceType))],
      ['Custom::Trigger'],
    );
    assert.deepEqual(await live(), versions);
    const id = await create(seller);
    await eventually('what is created is listed', 20, () => listed(id));
  });

  test('the guide moves a stage on, and back', async () => {
    await shell.run(commands(GUIDE, 'next version'));
    await shell.run(commands(GUIDE, 'back'));
    const id = await create(seller);
    await eventually('what is created is listed', 20, () => listed(id));
  });
});

test('the guide destroys a stage, whose data survives it', async () => {
  await shell.run(commands(GUIDE, 'destroy'));
  const { Functions } = await new LambdaClient(world.client).send(new ListFunctionsCommand({}));
  assert.deepEqual(
    Functions!
      .map(({ FunctionName }) => FunctionName)
      .filter((name) => name!.startsWith('Vitrina')),
    [],
  );
  const table = new DescribeTableCommand({ TableName: outputs['ListingsTable']! });
  const described = await new DynamoDBClient(world.client).send(table);
  assert.equal(described.Table!.TableStatus, 'ACTIVE');
  for (const name of ['QueueUrl', 'DeadLetterQueueUrl']) {
    await new SQSClient(world.client).send(
      new GetQueueAttributesCommand({ QueueUrl: outputs[name]!, AttributeNames: ['QueueArn'] }),
    );
  }
});

describe('an ephemeral stage, whose database sleeps', () => {
  let before: string[];

  /** What somebody would find in the account. */
  async function everything(): Promise<string[]> {
    const functions = await new LambdaClient(world.client).send(new ListFunctionsCommand({}));
    const groups = await new CloudWatchLogsClient(world.client).send(
      new DescribeLogGroupsCommand({}),
    );
    const tables = await new DynamoDBClient(world.client).send(new ListTablesCommand({}));
    const queues = await new SQSClient(world.client).send(new ListQueuesCommand({}));
    const schedules = await new SchedulerClient(world.client).send(new ListSchedulesCommand({}));
    return [
      ...(functions.Functions ?? []).map(({ FunctionName }) => `function ${FunctionName}`),
      ...(groups.logGroups ?? []).map(({ logGroupName }) => `log group ${logGroupName}`),
      ...(tables.TableNames ?? []).map((name) => `table ${name}`),
      ...(queues.QueueUrls ?? []).map((url) => `queue ${url}`),
      ...(schedules.Schedules ?? []).map(({ Name }) => `schedule ${Name}`),
    ].sort();
  }

  test('the guide brings it up, and nothing ticks in it', async () => {
    before = await everything();
    world.stages('branch-42', { databaseMinCapacity: 0 });
    await shell.run(commands(GUIDE, 'branch'));
    outputs = await outputsOf('branch-42');
    const { Schedules } = await new SchedulerClient(world.client).send(
      new ListSchedulesCommand({}),
    );
    assert.deepEqual(Schedules, []);
  });

  test('what the API did not get rid of is published by the relay that follows it', async () => {
    const seller = await tokenOf('seller');
    const refused = world.bus.refused;
    world.bus.refuseOnce();
    const id = await create(seller);
    await eventually('it is listed', 30, () => listed(id));
    assert.equal(world.bus.refused, refused + 1);
  });

  test('it leaves nothing behind', async () => {
    await shell.run(commands(GUIDE, 'branch goes'));
    assert.deepEqual(await everything(), before);
  });
});
