import assert from 'node:assert/strict';
import { test } from 'node:test';
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Delivery, DeliveryError, DeliveryProps, readDelivery } from '../lib/delivery';

interface Statement {
  Sid?: string;
  Effect: string;
  Action: string | string[];
  Resource: unknown;
  Condition?: Record<string, Record<string, string>>;
}

const SANDBOX = { sandbox: 'stage', feature: 'feature', diff: 'diff' } as const;

function template(props: Partial<DeliveryProps> = {}): Template {
  const settings = { repository: 'example/vitrina', environments: SANDBOX, ...props };
  return Template.fromStack(new Delivery(new App(), 'Vitrina-delivery', settings));
}

function roles(of: Template): { name: string; trust: Statement[]; policy: Statement[] }[] {
  const policies = Object.values(of.findResources('AWS::IAM::Policy'));
  return Object.entries(of.findResources('AWS::IAM::Role')).map(([name, role]) => {
    const own = policies.filter((it) =>
      (it['Properties'] as { Roles: { Ref: string }[] }).Roles.some(({ Ref }) => Ref === name),
    );
    const statements = (document: unknown) => (document as { Statement: Statement[] }).Statement;
    const properties = role['Properties'] as { AssumeRolePolicyDocument: unknown };
    return {
      name,
      trust: statements(properties.AssumeRolePolicyDocument),
      policy: own.flatMap((it) =>
        statements((it['Properties'] as { PolicyDocument: unknown }).PolicyDocument),
      ),
    };
  });
}

function faultsOf(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof DeliveryError, String(error));
    return error.faults;
  }
  return [];
}

const list = (value: string | string[]): string[] => (Array.isArray(value) ? value : [value]);

test('role trusts only its repository and environment', () => {
  const found = roles(template());
  assert.equal(found.length, 3);
  for (const { name, trust } of found) {
    assert.equal(trust.length, 1, name);
    assert.equal(trust[0]?.Action, 'sts:AssumeRoleWithWebIdentity');
    // An exact comparison is the only condition.
    assert.deepEqual(Object.keys(trust[0]?.Condition ?? {}), ['StringEquals'], name);
  }
  const subjects = found.map(
    ({ trust }) =>
      trust[0]?.Condition?.['StringEquals']?.['token.actions.githubusercontent.com:sub'],
  );
  assert.deepEqual(subjects.sort(), [
    'repo:example/vitrina:environment:diff',
    'repo:example/vitrina:environment:feature',
    'repo:example/vitrina:environment:sandbox',
  ]);
  for (const { trust } of found) {
    const audience = 'token.actions.githubusercontent.com:aud';
    assert.equal(trust[0]?.Condition?.['StringEquals']?.[audience], 'sts.amazonaws.com');
  }
});

test('no role has wildcard or IAM actions', () => {
  for (const { name, policy } of roles(template())) {
    for (const statement of policy) {
      for (const action of list(statement.Action)) {
        assert.ok(!action.includes('*'), `${name}: ${action}`);
        assert.ok(!action.startsWith('iam:'), `${name}: ${action}`);
      }
    }
  }
});

test('actions on all resources only list', () => {
  const open = roles(template()).flatMap(({ policy }) =>
    policy.filter((it) => it.Resource === '*'),
  );
  const actions = new Set(open.flatMap((it) => list(it.Action)));
  assert.deepEqual([...actions].sort(), [
    'cloudformation:DescribeStacks',
    'logs:DescribeLogGroups',
    'tag:GetResources',
  ]);
});

test('diff role may only assume the lookup role', () => {
  const diff = roles(template({ environments: { diff: 'diff' } }));
  const allowed = diff.flatMap(({ policy }) => policy);
  assert.equal(allowed.length, 1);
  assert.equal(allowed[0]?.Action, 'sts:AssumeRole');
  assert.match(JSON.stringify(allowed[0]?.Resource), /cdk-hnb659fds-lookup-role-/);
  assert.doesNotMatch(JSON.stringify(allowed[0]?.Resource), /deploy|publishing/);
});

test('delete permissions cover only feature stages', () => {
  for (const { policy } of roles(template())) {
    for (const statement of policy) {
      const deletes = list(statement.Action).some((action) => action.includes(':Delete'));
      if (!deletes) continue;
      assert.match(JSON.stringify(statement.Resource), /Vitrina-f-\*/);
      assert.doesNotMatch(JSON.stringify(statement.Resource), /sandbox|production/);
    }
  }
});

test('production role may not manage users', () => {
  const found = roles(template({ environments: { production: 'stage' } }));
  const actions = found.flatMap(({ policy }) => policy.flatMap((it) => list(it.Action)));
  assert.ok(actions.length > 5);
  assert.deepEqual(
    actions.filter((action) => action.startsWith('cognito')),
    [],
  );
});

test('existing identity provider is reused', () => {
  const providerArn = 'arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com';
  template({ providerArn }).resourceCountIs('AWS::IAM::OIDCProvider', 0);
  template().resourceCountIs('AWS::IAM::OIDCProvider', 1);
});

test('every invalid repository and environment is reported', () => {
  const environments = { 'f-x': 'stage', 'a:b': 'diff' } as const;
  assert.deepEqual(
    faultsOf(() => template({ repository: 'example/*', environments })),
    [
      'repository: "example/*" is not owner/name',
      'environments: f-x has the prefix f-, which is reserved for feature branches',
      'environments: a:b must consist of a-z, 0-9 and -',
    ],
  );
  assert.deepEqual(
    faultsOf(() => readDelivery('', 'sandbox=admin,x')),
    [
      'environments: admin is not one of stage, feature, diff',
      'environments: x is not of the form name=purpose',
      'repository: "" is not owner/name',
    ],
  );
  assert.deepEqual(
    faultsOf(() => readDelivery('example/vitrina', '')),
    ['environments: must not be empty'],
  );
  assert.deepEqual(readDelivery('example/vitrina', 'sandbox=stage,diff=diff'), {
    repository: 'example/vitrina',
    environments: { sandbox: 'stage', diff: 'diff' },
  });
});
