/** The rule packs, and checks that they do not have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, Validations } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as path from 'node:path';

import { acknowledged, SHOW_ALL } from '../lib/acknowledge';
import { build } from '../lib/app';
import { rulePacks } from '../lib/rules';
import {
  ARTIFACTS,
  CONTEXT,
  EPHEMERAL,
  functions,
  ofType,
  PRODUCTION,
  settings,
  synthesise,
  type Context,
} from './fixture';

interface Finding {
  id: string;
  at: string;
}

/** The findings of the packs in a stage; with `all`, including accepted ones. */
function findings(given: Context, all: boolean): Finding[] {
  const outdir = fs.mkdtempSync(path.join(ARTIFACTS, 'assembly-'));
  const app = new App({ outdir, context: { ...CONTEXT, [SHOW_ALL]: all } });
  build(app, settings(given));
  Validations.of(app).addPlugins(...rulePacks());
  // Findings would be printed and set the exit code; here they are the result.
  const { exitCode } = process;
  const consoleError = console.error;
  console.error = () => undefined;
  try {
    app.synth();
  } catch (error) {
    if ((error as Error).name !== 'ValidationFailed') throw error;
  } finally {
    console.error = consoleError;
    process.exitCode = exitCode;
  }
  const report = JSON.parse(fs.readFileSync(path.join(outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports.flatMap((plugin: any) =>
    plugin.violations.flatMap((violation: any) =>
      violation.violatingConstructs.map((construct: any) => ({
        id: violation.ruleName,
        at: construct.constructPath,
      })),
    ),
  );
}

const VARIANTS: Context[] = [
  { ...PRODUCTION, databaseProxy: true },
  {
    ...PRODUCTION,
    domain: 'shop.example.com',
    hostedZoneId: 'Z1',
    zoneName: 'example.com',
    origins: 'https://shop.example.com',
    egress: 'endpoints',
  },
  EPHEMERAL,
];

test('every finding of the rule packs is acknowledged', () => {
  for (const given of VARIANTS) assert.deepEqual(findings(given, false), [], JSON.stringify(given));
});

test('every acknowledgement has a finding', () => {
  acknowledged.length = 0;
  const found = VARIANTS.flatMap((given) => findings(given, true));
  assert.ok(found.length > 0);
  const stale = acknowledged
    .filter(
      ({ construct, id }) =>
        !found.some(
          (finding) =>
            finding.id.endsWith(id) &&
            (finding.at === construct.node.path ||
              finding.at.startsWith(`${construct.node.path}/`)),
        ),
    )
    .map(({ construct, id }) => `${id} at ${construct.node.path}`);
  assert.deepEqual(stale, []);
});

test('no role has wildcard actions or an administrator policy', () => {
  for (const given of VARIANTS) {
    const { resources } = synthesise(given);
    const statements = Object.entries(resources).flatMap(([name, { Type, Properties }]) => {
      if (Type === 'AWS::IAM::Policy') {
        return Properties['PolicyDocument'].Statement.map((statement: any) => ({
          name,
          statement,
        }));
      }
      if (Type !== 'AWS::IAM::Role') return [];
      return (Properties['Policies'] ?? []).flatMap((policy: any) =>
        policy.PolicyDocument.Statement.map((statement: any) => ({ name, statement })),
      );
    });
    assert.ok(statements.length > 8);
    for (const { name, statement } of statements) {
      for (const action of [statement.Action].flat()) {
        assert.ok(!String(action).includes('*'), `${name} may ${action}`);
      }
    }
    for (const [name, role] of ofType(resources, 'AWS::IAM::Role')) {
      const managed = JSON.stringify(role.Properties['ManagedPolicyArns'] ?? []);
      assert.ok(!/Administrator|PowerUser|FullAccess/.test(managed), name);
    }
  }
});

test('each function has its own role without managed policies', () => {
  const { resources } = synthesise(PRODUCTION);
  const roles = Object.values(functions(resources)).map(
    ({ Properties }) => Properties['Role']['Fn::GetAtt'][0] as string,
  );
  assert.equal(new Set(roles).size, 8);
  for (const role of roles)
    assert.equal(resources[role]!.Properties['ManagedPolicyArns'], undefined);
});

test('templates contain no secret', () => {
  for (const given of VARIANTS) {
    const text = JSON.stringify(synthesise(given).json);
    assert.doesNotMatch(text, /AKIA[0-9A-Z]{16}|-----BEGIN|postgres:\/\/[^@"]*:[^@"]*@/);
    assert.doesNotMatch(text, /resolve:secretsmanager/);
  }
});
