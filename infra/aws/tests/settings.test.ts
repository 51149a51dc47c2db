import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';

import { SettingsError } from '../lib/settings';
import {
  ARTIFACTS,
  EMULATOR,
  EPHEMERAL,
  EXPIRES,
  PRODUCTION,
  settings,
  STAGES,
  type Context,
} from './fixture';

function faults(given: Context): string[] {
  try {
    settings(given);
  } catch (error) {
    if (error instanceof SettingsError) return error.faults;
    throw error;
  }
  return [];
}

test('every fault is reported at once', () => {
  const found = faults({
    stage: 'Not A Stage',
    artifacts: '/nowhere',
    architecture: 'sparc',
    egress: 'pigeon',
    databaseMinCapacity: 0.3,
    databaseProxy: 'perhaps',
    domain: 'shop.example.com',
    apiConcurrency: 'many',
    expires: 'tomorrow',
    alarmEmail: 'no-address',
  });
  for (const name of [
    'stage',
    'artifacts',
    'architecture',
    'egress',
    'databaseMinCapacity',
    'databaseProxy',
    'domain',
    'apiConcurrency',
    'expires',
    'alarmEmail',
  ]) {
    assert.ok(
      found.some((fault) => fault.startsWith(`${name}: `)),
      `${name} is not among ${found.join('\n')}`,
    );
  }
});

test('every stage file is valid', () => {
  for (const file of fs.readdirSync(STAGES)) {
    const stage = path.basename(file, '.json');
    const given = stage === 'ephemeral' ? EPHEMERAL : { stage };
    assert.deepEqual(faults(given), [], file);
  }
});

test('command line overrides the stage file', () => {
  assert.equal(settings(PRODUCTION).egress, 'nat');
  assert.equal(settings({ ...PRODUCTION, egress: 'endpoints' }).egress, 'endpoints');
});

test('arm64 is the default architecture', () => {
  assert.equal(settings({ stage: 'new' }).architecture, 'arm64');
});

test('misspelt setting in a stage file is refused', () => {
  const folder = fs.mkdtempSync(path.join(ARTIFACTS, 'stages-'));
  fs.writeFileSync(path.join(folder, 'x.json'), '{"databaseMinCapcity": 2}');
  const { fromCommandLineAndFile } = require('../lib/settings') as typeof import('../lib/settings');
  const context = { stage: 'x' } as Context;
  assert.throws(
    () => fromCommandLineAndFile((name) => context[name], folder),
    /databaseMinCapcity: unknown setting/,
  );
});

test('database url with a user or a password is refused', () => {
  const url = 'postgres://vitrina_sync:hunter2@127.0.0.1/vitrina';
  assert.deepEqual(faults({ ...EMULATOR, databaseUrl: url }), [
    'databaseUrl: must not contain a user',
    'databaseUrl: must not contain a password',
  ]);
});

test('proxy is refused with a sleeping database', () => {
  assert.match(faults({ ...EPHEMERAL, databaseProxy: true }).join(), /databaseProxy: would keep/);
});

test('ephemeral stage needs an expiry in the future', () => {
  assert.match(faults({ stage: 'x', ephemeral: true }).join(), /^expires: /);
  assert.match(faults({ ...EPHEMERAL, expires: '2026-11-21T00:00:00Z' }).join(), /is in the past/);
  assert.equal(settings(EPHEMERAL).expires, EXPIRES);
});

test('domain requires its zone and the edge', () => {
  const domain = { domain: 'shop.example.com', hostedZoneId: 'Z1', zoneName: 'example.com' };
  assert.deepEqual(faults({ ...PRODUCTION, ...domain }), []);
  assert.match(faults({ ...PRODUCTION, ...domain, edge: false }).join(), /requires edge=true/);
  assert.match(
    faults({ ...PRODUCTION, ...domain, zoneName: 'example.org' }).join(),
    /not in the zone/,
  );
});

test('ephemeral stage outside us-east-1 may have no edge', () => {
  assert.match(
    faults({ ...EPHEMERAL, edge: true }).join(),
    /edge: an ephemeral stage outside us-east-1 would leave/,
  );
  assert.deepEqual(faults({ ...EPHEMERAL, edge: true, region: 'us-east-1' }), []);
});
