/** The workflows' scripts that act on an account, tested against the emulator. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { CREDENTIALS, Ministack } from './emulator/ministack';
import { AWS, run, type RunResult } from './run';

const MINISTACK = process.env['VITRINA_MINISTACK'];
/** Without an emulator, these tests fail unless a developer asks to skip them. */
const WITHOUT_MINISTACK = process.env['VITRINA_TEST_WITHOUT_MINISTACK'] === '1';

/** Runs `act` against a new emulated account. */
async function withEmulator(
  act: (aws: (...args: string[]) => string, at: Record<string, string>) => void,
): Promise<void> {
  assert.ok(
    MINISTACK !== undefined,
    'VITRINA_MINISTACK names no emulator; VITRINA_TEST_WITHOUT_MINISTACK=1 skips this test',
  );
  const home = mkdtempSync(join(tmpdir(), 'vitrina-aws-'));
  try {
    const emulator = await Ministack.start(MINISTACK, join(home, 'emulator'));
    try {
      const at = {
        ...CREDENTIALS,
        AWS_ENDPOINT_URL: emulator.endpoint,
        AWS_CONFIG_FILE: '/dev/null',
      };
      const aws = (...args: string[]): string => {
        const { status, out, err } = run('aws', args, at);
        assert.equal(status, 0, `aws ${args.join(' ')}: ${err}`);
        return out.trim();
      };
      act(aws, at);
    } finally {
      await emulator.stop();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

const hours = (count: number): string =>
  new Date(Date.now() + count * 3_600_000).toISOString().replace(/\.\d+/, '');

test(
  'reaper removes only expired stages and their logs',
  { skip: WITHOUT_MINISTACK && 'VITRINA_TEST_WITHOUT_MINISTACK=1' },
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
      const remaining = (): string[] =>
        aws(
          ...['cloudformation', 'list-stacks', '--stack-status-filter', 'CREATE_COMPLETE'],
          ...['--query', 'StackSummaries[].StackName', '--output', 'text'],
        )
          .split(/\s+/)
          .sort();
      stack('Vitrina-f-old-1', hours(-1));
      stack('Vitrina-f-new-2', hours(1));
      stack('Vitrina-f-wanted-3', hours(48));
      // Not stages of feature branches, despite their tags.
      stack('Vitrina-production', hours(-1));
      stack('Unrelated', hours(-1));
      stack('Vitrina-f-forgotten-4');
      for (const name of ['Vitrina-f-old-1-Fn', 'Vitrina-f-new-2-Fn', 'Vitrina-production-Fn']) {
        aws('logs', 'create-log-group', '--log-group-name', `/aws/lambda/${name}`);
      }
      const reap = join(AWS, 'reap');
      const all = remaining();

      const dry = run(reap, ['--dry-run'], at);
      assert.equal(dry.status, 0, dry.err);
      assert.match(dry.out, /^Vitrina-f-old-1, .* would be removed\n$/);
      assert.deepEqual(remaining(), all);

      const done = run(reap, [], at);
      assert.equal(done.status, 0, done.err);
      assert.deepEqual(
        remaining(),
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

      // A named stage is removed before it expires.
      const wanted = run(reap, ['f-wanted-3'], at);
      assert.equal(wanted.status, 0, wanted.err);
      assert.ok(!remaining().includes('Vitrina-f-wanted-3'));
      // Removing it again succeeds; production is not accepted as a name.
      assert.equal(run(reap, ['f-wanted-3'], at).status, 0);
      assert.equal(run(reap, ['production'], at).status, 2);
      assert.ok(remaining().includes('Vitrina-production'));

      stack('Vitrina-f-odd-5', 'tomorrow-ish');
      const odd = run(reap, [], at);
      assert.equal(odd.status, 1);
      assert.match(odd.err, /Vitrina-f-odd-5 expires at tomorrow-ish/);
    }),
);

test(
  'deploy-code updates only the named services of one stage',
  { skip: WITHOUT_MINISTACK && 'VITRINA_TEST_WITHOUT_MINISTACK=1' },
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
        const deploy = (...args: string[]): RunResult => run(join(AWS, 'deploy-code'), args, at);

        artifact('catalog', 'after');
        const dry = deploy('--dry-run', 'sandbox', folder, 'catalog');
        assert.equal(dry.status, 0, dry.err);
        assert.match(dry.out, /catalog-api: would be updated/);
        assert.deepEqual(['a-api', 'a-projector'].map(live), ['1', '1']);

        const done = deploy('sandbox', folder, 'catalog');
        assert.equal(done.status, 0, done.err);
        assert.match(done.out, /catalog-api: live moved from version 1 to 2/);
        assert.deepEqual(['a-api', 'a-projector'].map(live), ['2', '2']);
        assert.deepEqual(['a-inventory', 'b-api'].map(live), ['1', '1']);

        assert.equal(deploy('f-unheard-of', folder, 'catalog').status, 4);
        assert.equal(
          deploy('sandbox', folder, 'inventory').status,
          1,
          'the artifact does not exist',
        );
        assert.equal(live('a-inventory'), '1');
        assert.equal(deploy('sandbox').status, 2);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }),
);

test(
  'delivery roles trust exactly their environment',
  { skip: WITHOUT_MINISTACK && 'VITRINA_TEST_WITHOUT_MINISTACK=1' },
  () =>
    withEmulator((aws, at) => {
      const work = mkdtempSync(join(tmpdir(), 'vitrina-roles-'));
      try {
        // The emulator's CloudFormation does not support identity providers, so use an existing one.
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
