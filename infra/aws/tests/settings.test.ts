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
  type Given,
} from './fixture';

function faults(given: Given): string[] {
  try {
    settings(given);
  } catch (error) {
    if (error instanceof SettingsError) return error.faults;
    throw error;
  }
  return [];
}

test('every fault is named at once', () => {
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
    alarmEmail: 'nobody',
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

test('each stage file has settings only, and they are right', () => {
  for (const file of fs.readdirSync(STAGES)) {
    const stage = path.basename(file, '.json');
    const given = stage === 'ephemeral' ? EPHEMERAL : { stage };
    assert.deepEqual(faults(given), [], file);
  }
});

test('the command line goes before the file of the stage', () => {
  assert.equal(settings(PRODUCTION).egress, 'nat');
  assert.equal(settings({ ...PRODUCTION, egress: 'endpoints' }).egress, 'endpoints');
});

test('arm64 is what is deployed unless said', () => {
  assert.equal(settings({ stage: 'new' }).architecture, 'arm64');
});

test('a typing error in the file of a stage is no default', () => {
  const folder = fs.mkdtempSync(path.join(ARTIFACTS, 'stages-'));
  fs.writeFileSync(path.join(folder, 'x.json'), '{"databaseMinCapcity": 2}');
  const { fromCommandLineAndFile } = require('../lib/settings') as typeof import('../lib/settings');
  const context = { stage: 'x' } as Given;
  assert.throws(
    () => fromCommandLineAndFile((name) => context[name], folder),
    /databaseMinCapcity: is no setting/,
  );
});

test('a password has no place in the address of a database', () => {
  const url = 'postgres://vitrina_app:hunter2@127.0.0.1/vitrina';
  assert.deepEqual(faults({ ...EMULATOR, databaseUrl: url }), [
    'databaseUrl: must not have a password',
  ]);
});

test('a proxy does not go with a database that sleeps', () => {
  assert.match(faults({ ...EPHEMERAL, databaseProxy: true }).join(), /databaseProxy: keeps/);
});

test('a stage that expires says when, and no stage expires in the past', () => {
  assert.match(faults({ stage: 'x', ephemeral: true }).join(), /^expires: /);
  assert.match(faults({ ...EPHEMERAL, expires: '2026-11-21T00:00:00Z' }).join(), /is past/);
  assert.equal(settings(EPHEMERAL).expires, EXPIRES);
});

test('a domain needs its zone and the edge', () => {
  const domain = { domain: 'shop.example.com', hostedZoneId: 'Z1', zoneName: 'example.com' };
  assert.deepEqual(faults({ ...PRODUCTION, ...domain }), []);
  assert.match(faults({ ...PRODUCTION, ...domain, edge: false }).join(), /needs the edge/);
  assert.match(
    faults({ ...PRODUCTION, ...domain, zoneName: 'example.org' }).join(),
    /not in the zone/,
  );
});

test('an ephemeral stage has no edge from where something of it would stay behind', () => {
  assert.match(faults({ ...EPHEMERAL, edge: true }).join(), /edge: leaves something behind/);
  assert.deepEqual(faults({ ...EPHEMERAL, edge: true, region: 'us-east-1' }), []);
});
