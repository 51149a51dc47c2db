/** The workflows' scripts: `stage-of`, `touched`, and `check-stage` without a stage. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { AWS, run } from './run';

const stageOf = (branch: string): string => run(join(AWS, 'stage-of'), [branch]).out.trim();

test('stage name is valid and unique for any branch name', () => {
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

/** A temporary repository with a copy of `touched`. */
class Checkout {
  readonly folder = mkdtempSync(join(tmpdir(), 'vitrina-touched-'));

  constructor() {
    this.git('init', '-q');
    mkdirSync(join(this.folder, 'infra/aws'), { recursive: true });
    cpSync(join(AWS, 'touched'), join(this.folder, 'infra/aws/touched'));
    this.commit();
  }

  git(...args: string[]): string {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@vitrina.example'];
    return execFileSync('git', [...identity, ...args], {
      cwd: this.folder,
      encoding: 'utf8',
    }).trim();
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

  /** Commits a change of these files and returns the output of `touched`. */
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

test('change touches only the functions built from it', () => {
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
    assert.deepEqual(touched('docs/api/openapi.json', 'docs/api/asyncapi.json'), ['catalog']);
    // Not part of the AWS edition.
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

test('change of template, migration or grant requires everything', () => {
  const checkout = new Checkout();
  try {
    for (const path of [
      'services/inventory/migrations/0009_more.sql',
      'shared/migrations/0002_bus.sql',
      'services/inventory/grants.sql',
      'services/sync/src/schema.rs',
      'shared/src/database/grants.rs',
      'infra/aws/lib/stage.ts',
      'infra/aws/stages/production.json',
      'Cargo.lock',
    ]) {
      assert.deepEqual(checkout.touchedBy(path, 'services/catalog/src/a.rs'), ['everything'], path);
    }
    // A deleted migration may already be applied.
    const before = checkout.git('rev-parse', 'HEAD');
    rmSync(join(checkout.folder, 'shared/migrations/0002_bus.sql'));
    checkout.commit();
    assert.deepEqual(checkout.touched(before), ['everything']);
    // A new branch, and one with a rewritten history.
    assert.deepEqual(checkout.touched('0'.repeat(40)), ['everything']);
    const gone = checkout.git('rev-parse', 'HEAD');
    checkout.git('checkout', '-q', '--orphan', 'anew');
    checkout.commit();
    assert.deepEqual(checkout.touched(gone), ['everything']);
  } finally {
    rmSync(checkout.folder, { recursive: true });
  }
});

test('check-stage fails if no dead-letter queue is in the outputs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vitrina-aws-'));
  try {
    const check = (printed: string) => {
      writeFileSync(join(folder, 'aws'), `#!/bin/sh\necho "${printed}"\n`, { mode: 0o755 });
      return run(join(AWS, 'check-stage'), ['test'], {
        PATH: `${folder}:${process.env['PATH']}`,
        // Nothing listens on this port.
        VITRINA_URL: 'http://127.0.0.1:9',
        VITRINA_SELLER_TOKEN: 'token',
      });
    };
    for (const nothing of ['', 'None']) {
      const { status, err } = check(nothing);
      assert.equal(status, 1, err);
      assert.match(err, /the stack has no output DeadLetterQueueUrl/);
    }
    const { status, err } = check('http://127.0.0.1:9/dead');
    assert.equal(status, 1, err);
    assert.match(err, /a create without a token: no response/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
