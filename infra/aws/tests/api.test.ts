import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';

import { ROUTES } from '../lib/api';
import { EPHEMERAL, functions, ofType, PRODUCTION, ROOT, synthesise } from './fixture';

/** The operations in a service's API description. */
function operations(service: string): { method: string; path: string }[] {
  const folder = path.join(ROOT, 'services', service, 'src/http');
  return fs
    .readdirSync(folder)
    .filter((file) => file.endsWith('.rs'))
    .flatMap((file) => {
      const text = fs.readFileSync(path.join(folder, file), 'utf8');
      return [...text.matchAll(/^\s+(get|post|put|patch|delete), path = "([^"]+)"/gm)].map(
        ([, method, route]) => ({ method: method!.toUpperCase(), path: route! }),
      );
    });
}

/** The function that serves a request, and whether the route is public. */
function routed(
  method: string,
  requested: string,
): { function: string; open: boolean } | undefined {
  const matches = (pattern: string): boolean =>
    new RegExp(
      `^${pattern.replace(/\{[a-z_]+\+\}/g, '.+').replace(/\{[a-z_]+\}/g, '[^/]+')}$`,
    ).test(requested);
  const found = ROUTES.filter(
    (route) => matches(route.path) && route.methods.some((known) => known === method),
  );
  assert.ok(found.length <= 1, `${method} ${requested} has several routes`);
  return found[0] && { function: found[0].function, open: found[0].isPublic === true };
}

test('every operation has a route to its function', () => {
  for (const service of ['inventory', 'catalog', 'sync']) {
    const all = operations(service);
    assert.ok(all.length > 2, service);
    for (const { method, path: route } of all) {
      assert.equal(routed(method, route)?.function, `${service}-api`, `${method} ${route}`);
    }
  }
});

/** The catalogue, and the documentation with its problem pages. */
const PUBLIC = /^\/(v1\/catalog\/|docs(\/|$)|openapi\.json$)/;

test('only the catalogue and the documentation are public', () => {
  for (const { path: route, isPublic: open } of ROUTES) {
    assert.equal(open === true, PUBLIC.test(route), route);
  }
  const { resources } = synthesise(PRODUCTION);
  const [[pool]] = ofType(resources, 'AWS::Cognito::UserPool') as [[string, any]];
  const [[authorizer, { Properties }]] = ofType(resources, 'AWS::ApiGatewayV2::Authorizer') as [
    [string, any],
  ];
  assert.equal(Properties.AuthorizerType, 'JWT');
  assert.match(JSON.stringify(Properties.JwtConfiguration.Issuer), new RegExp(pool));
  for (const [name, route] of ofType(resources, 'AWS::ApiGatewayV2::Route')) {
    const open = PUBLIC.test(String(route.Properties['RouteKey']).replace(/^[A-Z]+ /, ''));
    assert.deepEqual(
      route.Properties['AuthorizerId'],
      open ? undefined : { Ref: authorizer },
      name,
    );
  }
});

test('a stage documents exactly its routes', () => {
  const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), 'utf8');
  const source = read('shared/src/http/docs.rs');
  const list = source.match(/const NOT_ON_A_STAGE[^=]*=\s*&\[(.*?)\]/s)![1]!;
  const left = [...list.matchAll(/"([^"]+)"/g)].map(([, prefix]) => prefix!);
  assert.ok(left.length > 0);
  const document = JSON.parse(read('docs/api/openapi.json')) as { paths: object };
  for (const [route, item] of Object.entries(document.paths)) {
    const documented = !left.some((prefix) => route.startsWith(prefix));
    for (const method of Object.keys(item as object)) {
      const found = routed(method.toUpperCase(), route);
      assert.equal(found !== undefined, documented, `${method} ${route}`);
    }
  }
});

test('sync-api may read listings by key and do nothing else with them', () => {
  const { resources } = synthesise(PRODUCTION);
  const policies = ofType(resources, 'AWS::IAM::Policy').filter(([name]) =>
    name.includes('syncapi'),
  );
  const text = JSON.stringify(policies.map(([, { Properties }]) => Properties['PolicyDocument']));
  assert.deepEqual(text.match(/dynamodb:\w+/g), ['dynamodb:BatchGetItem']);
});

test('api is throttled and logs no client address', () => {
  const { resources } = synthesise(PRODUCTION);
  const [[, { Properties }]] = ofType(resources, 'AWS::ApiGatewayV2::Stage') as [[string, any]];
  assert.equal(Properties.StageName, '$default');
  assert.ok(Properties.DefaultRouteSettings.ThrottlingRateLimit > 0);
  assert.ok(Properties.DefaultRouteSettings.ThrottlingBurstLimit > 0);
  assert.doesNotMatch(Properties.AccessLogSettings.Format, /sourceIp|path|querystring/i);
});

test('cors allows only the configured origins', () => {
  const api = (given: object): any =>
    ofType(synthesise({ ...PRODUCTION, ...given }).resources, 'AWS::ApiGatewayV2::Api')[0]![1]
      .Properties;
  assert.equal(api({}).CorsConfiguration, undefined);
  const cors = api({ origins: 'https://shop.example.com' }).CorsConfiguration;
  assert.deepEqual(cors.AllowOrigins, ['https://shop.example.com']);
  assert.ok(cors.AllowHeaders.includes('if-match'));
  assert.ok(cors.ExposeHeaders.includes('etag'));
});

test('functions are only invoked through their alias', () => {
  for (const given of [PRODUCTION, EPHEMERAL]) {
    const { resources } = synthesise(given);
    const aliases = new Set(ofType(resources, 'AWS::Lambda::Alias').map(([name]) => name));
    assert.equal(aliases.size, 8);
    const called = [
      ...ofType(resources, 'AWS::ApiGatewayV2::Integration').map(
        ([, r]) => r.Properties['IntegrationUri'],
      ),
      ...ofType(resources, 'AWS::Lambda::EventSourceMapping').map(
        ([, r]) => r.Properties['FunctionName'],
      ),
      ...ofType(resources, 'AWS::Scheduler::Schedule').map(([, r]) => r.Properties['Target'].Arn),
      ...ofType(resources, 'AWS::Logs::SubscriptionFilter').map(
        ([, r]) => r.Properties['DestinationArn'],
      ),
    ];
    assert.ok(called.length >= 4);
    for (const target of called) {
      const text = JSON.stringify(target);
      assert.ok(
        [...aliases].some((alias) => text.includes(`"${alias}"`)),
        text,
      );
    }
  }
});

test('aliases move only after both migrations', () => {
  const { resources } = synthesise(PRODUCTION);
  const triggers = ofType(resources, 'Custom::Trigger');
  const trigger = (name: string): [string, any] =>
    triggers.find(([, { Properties }]) =>
      JSON.stringify(Properties['HandlerArn']).includes(name),
    ) as [string, any];
  const [inventory] = trigger('inventorymigrate');
  const [sync, { DependsOn }] = trigger('syncmigrate');
  assert.ok([DependsOn].flat().includes(inventory), 'sync migrates before inventory');
  for (const [name, alias] of ofType(resources, 'AWS::Lambda::Alias')) {
    if (name.includes('migrate')) continue;
    assert.ok([alias.DependsOn].flat().includes(sync), `${name} moves before the migrations`);
  }
  const writer = Object.keys(resources).find((name) => name.includes('ClusterWriter'))!;
  const needs = [resources[inventory]!.DependsOn].flat();
  assert.ok(needs.includes(writer), 'migrations do not depend on the database');
});

test('guide states the reserved concurrency', () => {
  const reserved = Object.values(functions(synthesise(PRODUCTION).resources))
    .map(({ Properties }) => Number(Properties['ReservedConcurrentExecutions']))
    .reduce((sum, one) => sum + one, 0);
  const guide = fs.readFileSync(path.join(ROOT, 'infra/aws/README.md'), 'utf8');
  assert.match(guide, new RegExp(`reserved, ${reserved} in production`));
});

test('each function has its own role, network and settings', () => {
  const { resources } = synthesise(PRODUCTION);
  const all = functions(resources);
  assert.equal(Object.keys(all).length, 8);
  for (const [name, { Properties }] of Object.entries(all)) {
    assert.equal(Properties['Runtime'], 'provided.al2023', name);
    assert.deepEqual(Properties['Architectures'], ['arm64'], name);
    assert.ok(Properties['ReservedConcurrentExecutions'] > 0, name);
    const { VITRINA_ROLE: role } = Properties['Environment']['Variables'];
    assert.ok(name.endsWith(`-${role}`), name);
    // Only functions that use PostgreSQL are in the network.
    const uses = 'DATABASE_URL' in Properties['Environment']['Variables'];
    assert.equal(Properties['VpcConfig'] !== undefined, uses, name);
  }
});
