/** Rules for the workflows that actionlint does not have. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { ROOT } from '../lib/paths';

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
}

interface Job {
  environment?: string;
  permissions?: Record<string, string>;
  concurrency?: { group: string; 'cancel-in-progress': boolean };
  uses?: string;
  needs?: string | string[];
  with?: Record<string, string>;
  steps?: Step[];
  'timeout-minutes'?: number;
}

interface Workflow {
  on: Record<string, { branches?: string[]; 'branches-ignore'?: string[] } | null>;
  permissions: Record<string, string>;
  jobs: Record<string, Job>;
}

const FOLDER = join(ROOT, '.github/workflows');
const WORKFLOWS = readdirSync(FOLDER).map((file) => {
  const text = readFileSync(join(FOLDER, file), 'utf8');
  return { file, text, workflow: parse(text) as Workflow };
});
const JOBS = WORKFLOWS.flatMap(({ file, workflow }) =>
  Object.entries(workflow.jobs).map(([name, job]) => ({ job, where: `${file}: ${name}` })),
);

const named = (file: string): Workflow => {
  const found = WORKFLOWS.find((it) => it.file === file);
  assert.ok(found, file);
  return found.workflow;
};

test('third-party actions are pinned to a commented commit', () => {
  let pinned = 0;
  for (const { file, text } of WORKFLOWS) {
    for (const [line, action] of text.matchAll(/^.*\buses: (\S+).*$/gm)) {
      if (action?.startsWith('./') === true) continue;
      assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, file);
      pinned += 1;
    }
  }
  assert.ok(pinned > 15, String(pinned));
});

test('each action has one commit in all workflows', () => {
  const commits = new Map<string, Set<string>>();
  for (const { text } of WORKFLOWS) {
    for (const [, name, commit] of text.matchAll(/uses: ([\w-]+\/[\w-]+)@(\w{40})/g)) {
      assert.ok(name !== undefined && commit !== undefined);
      commits.set(name, (commits.get(name) ?? new Set()).add(commit));
    }
  }
  for (const [name, found] of commits) assert.equal(found.size, 1, name);
});

test('jobs have read permissions and at most an id token', () => {
  for (const { file, workflow } of WORKFLOWS) assert.deepEqual(workflow.permissions, {}, file);
  for (const { job, where } of JOBS) {
    assert.ok(job.permissions, `${where} has no permissions of its own`);
    for (const [permission, access] of Object.entries(job.permissions)) {
      assert.ok(access === 'read' || permission === 'id-token', `${where}: ${permission}`);
    }
  }
});

test('jobs that assume a role have an environment', () => {
  const deploying = JOBS.filter(({ job }) =>
    job.steps?.some(({ uses }) => uses?.includes('configure-aws')),
  );
  assert.ok(deploying.length >= 4);
  for (const { job, where } of deploying) {
    assert.ok(job.environment !== undefined, where);
    assert.equal(job.permissions?.['id-token'], 'write', where);
  }
  for (const { job, where } of JOBS) {
    const calls = job.uses?.endsWith('/deploy.yaml') === true;
    if (calls) assert.ok(job.with?.['environment'] !== undefined, where);
    if (job.permissions?.['id-token'] === 'write') {
      assert.ok(
        calls || job.environment !== undefined,
        `${where} has an id token without an environment`,
      );
    }
  }
});

test('workflows use no stored AWS key', () => {
  for (const { file, text } of WORKFLOWS) {
    assert.doesNotMatch(text, /aws-access-key-id|aws-secret-access-key|secrets\./i, file);
  }
});

test('deployments of a stage are serial and never cancelled', () => {
  const { concurrency } = named('deploy.yaml').jobs['deploy'] ?? {};
  assert.deepEqual(concurrency, {
    group: 'stage-${{ inputs.stage }}',
    'cancel-in-progress': false,
  });
  for (const { job, where } of JOBS) {
    if (job.concurrency !== undefined)
      assert.equal(job.concurrency['cancel-in-progress'], false, where);
  }
});

test('production follows the sandbox check on main only', () => {
  const { on, jobs } = named('deliver.yaml');
  assert.deepEqual(on, { push: { branches: ['main'] } });
  assert.deepEqual(jobs['sandbox']?.needs, ['checks', 'build']);
  assert.equal(jobs['check-sandbox']?.needs, 'sandbox');
  assert.equal(jobs['production']?.needs, 'check-sandbox');
  assert.equal(jobs['production']?.with?.['environment'], 'production');
});

test('main is checked with the optimised binaries, too', () => {
  const jobs = Object.values(named('checks.yaml').jobs);
  const commands = jobs.flatMap(({ steps }) => steps?.flatMap(({ run }) => run ?? []) ?? []);
  for (const command of ['.ci/run', 'infra/aws/test --optimised']) {
    assert.ok(commands.includes(command), command);
  }
});

test('scripts contain no expressions', () => {
  for (const { job, where } of JOBS) {
    for (const { run } of job.steps ?? []) assert.doesNotMatch(run ?? '', /\$\{\{/, where);
  }
});

test('every script is valid bash', () => {
  let read = 0;
  for (const { job, where } of JOBS) {
    for (const { run } of job.steps ?? []) {
      if (run === undefined) continue;
      const { status, stderr } = spawnSync('bash', ['-n'], { input: run, encoding: 'utf8' });
      assert.equal(status, 0, `${where}: ${stderr}`);
      read += 1;
    }
  }
  assert.ok(read > 10, String(read));
});

test('jobs have a timeout and persist no credentials', () => {
  for (const { job, where } of JOBS) {
    if (job.steps === undefined) continue;
    assert.ok((job['timeout-minutes'] ?? 0) > 0, where);
    for (const step of job.steps) {
      if (step.uses?.startsWith('actions/checkout@') !== true) continue;
      assert.equal(step.with?.['persist-credentials'], false, where);
    }
  }
});
