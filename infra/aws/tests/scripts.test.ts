/** The commands that the workflows call, on real commits and on an emulator. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../lib/places';

const AWS = join(ROOT, 'infra/aws');
const MINISTACK = process.env['VITRINA_MINISTACK'];

interface Ended {
  status: number | null;
  out: string;
  err: string;
}

function run(program: string, args: string[], environment: Record<string, string> = {}): Ended {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  return { status, out: stdout, err: stderr };
}

const stageOf = (branch: string): string => run(join(AWS, 'stage-of'), [branch]).out.trim();

test('the name of a stage is one that the settings take, whatever the branch is called', () => {
  for (const branch of [
    'main',
    'Feature/ÄÖ-some thing',
    '-',
    'a'.repeat(200),
    '1/2',
    'x-',
    'fix/#12',
  ]) {
    assert.match(stageOf(branch), /^f-[a-z0-9](-?[a-z0-9])*$/, branch);
    assert.ok(stageOf(branch).length <= 30, branch);
    assert.equal(stageOf(branch), stageOf(branch));
  }
  const alike = ['a/b', 'a-b', 'A/b', 'a.b'].map(stageOf);
  assert.equal(new Set(alike).size, alike.length, alike.join(' '));
  assert.equal(run(join(AWS, 'stage-of'), ['']).status, 2);
});

/** A checkout with this one's `touched`, in which files are changed. */
class Checkout {
  readonly folder = mkdtempSync(join(tmpdir(), 'vitrina-touched-'));

  constructor() {
    this.git('init', '-q');
    mkdirSync(join(this.folder, 'infra/aws'), { recursive: true });
    cpSync(join(AWS, 'touched'), join(this.folder, 'infra/aws/touched'));
    this.commit();
  }

  git(...args: string[]): string {
    const who = ['-c', 'user.name=test', '-c', 'user.email=test@vitrina.example'];
    return execFileSync('git', [...who, ...args], { cwd: this.folder, encoding: 'utf8' }).trim();
  }

  commit(): string {
    this.git('add', '-A');
    this.git('commit', '-q', '--allow-empty', '-m', 'change');
    return this.git('rev-parse', 'HEAD');
  }

  write(path: string): void {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${Math.random()}\n`);
  }

  /** What is touched by changing these files. */
  touchedBy(...paths: string[]): string[] {
    const before = this.git('rev-parse', 'HEAD');
    paths.forEach((path) => this.write(path));
    this.commit();
    return this.touched(before);
  }

  touched(base: string): string[] {
    const { status, out, err } = run(join(this.folder, 'infra/aws/touched'), [base]);
    assert.equal(status, 0, err);
    return out.split('\n').filter((line) => line !== '');
  }
}

test('a change touches the functions that are built from it, and no others', () => {
  const checkout = new Checkout();
  try {
    const touched = (...paths: string[]) => checkout.touchedBy(...paths);
    assert.deepEqual(touched('services/catalog/src/pages.rs'), ['catalog']);
    assert.deepEqual(touched('services/sync/src/lib.rs', 'services/catalog/Cargo.toml'), [
      'catalog',
      'sync',
    ]);
    assert.deepEqual(touched('shared/src/lib.rs'), ['catalog', 'inventory', 'sync']);
    assert.deepEqual(touched('.sqlx/query-1.json'), ['catalog', 'inventory', 'sync']);
    // Not deployed there.
    assert.deepEqual(touched('services/identity/src/lib.rs', 'bench/src/main.rs', 'README.md'), []);
    assert.deepEqual(
      touched('services/inventory/tests/it/main.rs', 'infra/aws/tests/a.test.ts'),
      [],
    );
    assert.deepEqual(touched('infra/aws/delivery.md', 'infra/runbooks/drift.md'), []);
  } finally {
    rmSync(checkout.folder, { recursive: true });
  }
});

test('a change that code alone cannot bring is everything', () => {
  const checkout = new Checkout();
  try {
    for (const path of [
      'services/inventory/migrations/0009_more.sql',
      'shared/migrations/0002_bus.sql',
      'infra/aws/lib/stage.ts',
      'infra/aws/stages/production.json',
      'Cargo.lock',
    ]) {
      assert.deepEqual(checkout.touchedBy(path, 'services/catalog/src/a.rs'), ['everything'], path);
    }
    // A migration that is gone was applied all the same.
    const before = checkout.git('rev-parse', 'HEAD');
    rmSync(join(checkout.folder, 'shared/migrations/0002_bus.sql'));
    checkout.commit();
    assert.deepEqual(checkout.touched(before), ['everything']);
    // A new branch, and one whose history was written anew.
    assert.deepEqual(checkout.touched('0'.repeat(40)), ['everything']);
    const gone = checkout.git('rev-parse', 'HEAD');
    checkout.git('checkout', '-q', '--orphan', 'anew');
    checkout.commit();
    assert.deepEqual(checkout.touched(gone), ['everything']);
  } finally {
    rmSync(checkout.folder, { recursive: true });
  }
});

/** AWS as the emulator plays it, on a port of its own. */
async function withEmulator(
  act: (aws: (...args: string[]) => string, at: Record<string, string>) => void,
): Promise<void> {
  assert.ok(MINISTACK !== undefined);
  const port = await freePort();
  const home = mkdtempSync(join(tmpdir(), 'vitrina-aws-'));
  const emulator = spawn(MINISTACK, [], {
    stdio: 'ignore',
    cwd: home,
    env: {
      ...process.env,
      BIND_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      IOT_MTLS_ENABLED: '0',
    },
  });
  try {
    const endpoint = `http://127.0.0.1:${port}`;
    const at = {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_CONFIG_FILE: '/dev/null',
    };
    for (let tries = 0; ; tries += 1) {
      const up = await fetch(`${endpoint}/_ministack/health`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (up) break;
      assert.ok(tries < 600, 'the emulator does not start');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const aws = (...args: string[]): string => {
      const { status, out, err } = run('aws', args, at);
      assert.equal(status, 0, `aws ${args.join(' ')}: ${err}`);
      return out.trim();
    };
    act(aws, at);
  } finally {
    emulator.kill('SIGKILL');
    rmSync(home, { recursive: true, force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      assert.ok(address !== null && typeof address === 'object');
      server.close(() => resolve(address.port));
    });
  });
}

const hours = (count: number): string =>
  new Date(Date.now() + count * 3_600_000).toISOString().replace(/\.\d+/, '');

test(
  'the reaper removes what has expired, with its logs, and nothing else',
  { skip: MINISTACK === undefined && 'VITRINA_MINISTACK names no emulator' },
  () =>
    withEmulator((aws, at) => {
      const template = JSON.stringify({ Resources: { Topic: { Type: 'AWS::SNS::Topic' } } });
      const stack = (name: string, expires?: string): void => {
        const tags =
          expires === undefined ? [] : ['--tags', `Key=vitrina:expires,Value=${expires}`];
        aws(
          'cloudformation',
          'create-stack',
          '--stack-name',
          name,
          '--template-body',
          template,
          ...tags,
        );
        aws('cloudformation', 'wait', 'stack-create-complete', '--stack-name', name);
      };
      const left = (): string[] =>
        aws(
          ...['cloudformation', 'list-stacks', '--stack-status-filter', 'CREATE_COMPLETE'],
          ...['--query', 'StackSummaries[].StackName', '--output', 'text'],
        )
          .split(/\s+/)
          .sort();
      stack('Vitrina-f-old-1', hours(-1));
      stack('Vitrina-f-new-2', hours(1));
      stack('Vitrina-f-wanted-3', hours(48));
      // Neither is a feature branch's, whatever it says of itself.
      stack('Vitrina-production', hours(-1));
      stack('Somebody-elses', hours(-1));
      stack('Vitrina-f-forgotten-4');
      for (const name of ['Vitrina-f-old-1-Fn', 'Vitrina-f-new-2-Fn', 'Vitrina-production-Fn']) {
        aws('logs', 'create-log-group', '--log-group-name', `/aws/lambda/${name}`);
      }
      const reap = join(AWS, 'reap');
      const all = left();

      const dry = run(reap, ['--dry-run'], at);
      assert.equal(dry.status, 0, dry.err);
      assert.match(dry.out, /^Vitrina-f-old-1, .* would be removed\n$/);
      assert.deepEqual(left(), all);

      const done = run(reap, [], at);
      assert.equal(done.status, 0, done.err);
      assert.deepEqual(
        left(),
        all.filter((name) => name !== 'Vitrina-f-old-1'),
      );
      const groups = aws(
        ...[
          'logs',
          'describe-log-groups',
          '--query',
          'logGroups[].logGroupName',
          '--output',
          'text',
        ],
      );
      assert.deepEqual(groups.split(/\s+/).sort(), [
        '/aws/lambda/Vitrina-f-new-2-Fn',
        '/aws/lambda/Vitrina-production-Fn',
      ]);

      // Its branch is gone, though its time is not over.
      const wanted = run(reap, ['f-wanted-3'], at);
      assert.equal(wanted.status, 0, wanted.err);
      assert.ok(!left().includes('Vitrina-f-wanted-3'));
      // What is not there any more is gone, and production can't be named.
      assert.equal(run(reap, ['f-wanted-3'], at).status, 0);
      assert.equal(run(reap, ['production'], at).status, 2);
      assert.ok(left().includes('Vitrina-production'));

      stack('Vitrina-f-odd-5', 'tomorrow-ish');
      const odd = run(reap, [], at);
      assert.equal(odd.status, 1);
      assert.match(odd.err, /Vitrina-f-odd-5 expires at tomorrow-ish/);
    }),
);

test(
  'code alone goes to the functions of the named services of one stage, by a new version that goes live',
  { skip: MINISTACK === undefined && 'VITRINA_MINISTACK names no emulator' },
  () =>
    withEmulator((aws, at) => {
      const folder = mkdtempSync(join(tmpdir(), 'vitrina-code-'));
      try {
        const artifact = (service: string, text: string): void => {
          mkdirSync(join(folder, service), { recursive: true });
          writeFileSync(join(folder, service, 'bootstrap'), `#!/bin/sh\n# ${text}\n`, {
            mode: 0o755,
          });
        };
        artifact('catalog', 'before');
        const zip = join(folder, 'before.zip');
        execFileSync('python3', ['-m', 'zipfile', '-c', zip, join(folder, 'catalog/bootstrap')]);
        const role = 'arn:aws:iam::000000000000:role/any';
        const make = (name: string, stage: string, what: string): void => {
          aws(
            ...[
              'lambda',
              'create-function',
              '--function-name',
              name,
              '--runtime',
              'provided.al2023',
            ],
            ...[
              '--handler',
              'bootstrap',
              '--role',
              role,
              '--zip-file',
              `fileb://${zip}`,
              '--publish',
            ],
            ...['--tags', `vitrina:stage=${stage},vitrina:function=${what}`],
          );
          aws(
            ...['lambda', 'create-alias', '--function-name', name, '--name', 'live'],
            ...['--function-version', '1'],
          );
        };
        make('a-api', 'sandbox', 'catalog-api');
        make('a-projector', 'sandbox', 'catalog-projector');
        make('a-inventory', 'sandbox', 'inventory-api');
        make('b-api', 'production', 'catalog-api');
        const live = (name: string): string =>
          aws(
            ...['lambda', 'get-alias', '--function-name', name, '--name', 'live'],
            ...['--query', 'FunctionVersion', '--output', 'text'],
          );
        const deploy = (...args: string[]): Ended => run(join(AWS, 'deploy-code'), args, at);

        artifact('catalog', 'after');
        const dry = deploy('--dry-run', 'sandbox', folder, 'catalog');
        assert.equal(dry.status, 0, dry.err);
        assert.match(dry.out, /catalog-api would get/);
        assert.deepEqual(['a-api', 'a-projector'].map(live), ['1', '1']);

        const done = deploy('sandbox', folder, 'catalog');
        assert.equal(done.status, 0, done.err);
        assert.match(done.out, /catalog-api: live is version 2, and was 1/);
        assert.deepEqual(['a-api', 'a-projector'].map(live), ['2', '2']);
        assert.deepEqual(['a-inventory', 'b-api'].map(live), ['1', '1']);

        assert.equal(deploy('f-unheard-of', folder, 'catalog').status, 4);
        assert.equal(deploy('sandbox', folder, 'inventory').status, 1, 'there is no such artifact');
        assert.equal(live('a-inventory'), '1');
        assert.equal(deploy('sandbox').status, 2);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }),
);

test(
  'the roles of delivery are deployed as the guide says, and each says which environment it is for',
  { skip: MINISTACK === undefined && 'VITRINA_MINISTACK names no emulator' },
  () =>
    withEmulator((aws, at) => {
      const work = mkdtempSync(join(tmpdir(), 'vitrina-roles-'));
      try {
        // The emulator's CloudFormation makes no providers, so it is one that is there already.
        const provider = aws(
          ...['iam', 'create-open-id-connect-provider', '--client-id-list', 'sts.amazonaws.com'],
          ...['--url', 'https://token.actions.githubusercontent.com'],
          ...['--query', 'OpenIDConnectProviderArn', '--output', 'text'],
        );
        const deployed = run(
          join(AWS, 'node_modules/.bin/cdk'),
          [
            ...['deploy', '--app', `node ${join(AWS, 'dist/bin/delivery.js')}`, '--build', ''],
            ...['--require-approval', 'never', '-o', join(work, 'out')],
            ...['-c', 'repository=example/vitrina', '-c', `providerArn=${provider}`],
            ...['-c', 'environments=sandbox=stage,feature=feature,diff=diff'],
          ],
          {
            ...at,
            AWS_REGION: 'us-east-1',
            CDK_DISABLE_VERSION_CHECK: '1',
            CI: 'true',
            HOME: work,
          },
        );
        assert.equal(deployed.status, 0, deployed.err);
        for (const [output, environment] of [
          ['RoleSandbox', 'sandbox'],
          ['RoleFeature', 'feature'],
          ['RoleDiff', 'diff'],
        ] as const) {
          const arn = aws(
            ...['cloudformation', 'describe-stacks', '--stack-name', 'Vitrina-delivery'],
            ...['--query', `Stacks[0].Outputs[?OutputKey=='${output}'].OutputValue`],
            ...['--output', 'text'],
          );
          const role = aws('iam', 'get-role', '--role-name', arn.split('/').at(-1) ?? '');
          assert.match(role, new RegExp(`repo:example/vitrina:environment:${environment}"`));
        }
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    }),
);
