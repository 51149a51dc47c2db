import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ofType, PRODUCTION, synthesise, type Resource } from './fixture';

function edge(given: object = {}): Record<string, Resource> {
  return synthesise({ ...PRODUCTION, ...given }).edge!.toJSON()['Resources'];
}

const DOMAIN = { domain: 'shop.example.com', hostedZoneId: 'Z1', zoneName: 'example.com' };

test('only catalogue responses are cached, by full query', () => {
  const resources = edge();
  const [[, { Properties }]] = ofType(resources, 'AWS::CloudFront::Distribution') as [
    [string, any],
  ];
  const config = Properties.DistributionConfig;
  const [catalogue] = config.CacheBehaviors;
  assert.equal(catalogue.PathPattern, '/v1/catalog/*');
  const [[name, policy]] = ofType(resources, 'AWS::CloudFront::CachePolicy') as [[string, any]];
  assert.deepEqual(catalogue.CachePolicyId, { Ref: name });
  const cache = policy.Properties.CachePolicyConfig;
  assert.equal(cache.MinTTL, 0);
  assert.equal(cache.DefaultTTL, 0);
  const key = cache.ParametersInCacheKeyAndForwardedToOrigin;
  assert.equal(key.QueryStringsConfig.QueryStringBehavior, 'all');
  assert.equal(key.CookiesConfig.CookieBehavior, 'none');
  // AWS's managed policy CachingDisabled.
  assert.equal(config.DefaultCacheBehavior.CachePolicyId, '4135ea2d-6df8-44a3-9df3-4b5a84be39ad');
});

test('error responses are not cached', () => {
  const [[, { Properties }]] = ofType(edge(), 'AWS::CloudFront::Distribution') as [[string, any]];
  const cached = new Map(
    Properties.DistributionConfig.CustomErrorResponses.map((response: any) => [
      response.ErrorCode,
      response.ErrorCachingMinTTL,
    ]),
  );
  for (const status of [404, 500, 502, 503, 504])
    assert.equal(cached.get(status), 0, String(status));
});

test('distribution has a firewall with a rate limit', () => {
  const resources = edge({ addressLimit: 500 });
  const [[name, { Properties }]] = ofType(resources, 'AWS::WAFv2::WebACL') as [[string, any]];
  assert.equal(Properties.Scope, 'CLOUDFRONT');
  const rate = Properties.Rules.find((rule: any) => rule.Statement.RateBasedStatement);
  assert.equal(rate.Statement.RateBasedStatement.Limit, 500);
  assert.ok(rate.Action.Block);
  const groups = Properties.Rules.flatMap(
    (rule: any) => rule.Statement.ManagedRuleGroupStatement?.Name ?? [],
  );
  assert.ok(groups.includes('AWSManagedRulesCommonRuleSet'));
  const priorities = Properties.Rules.map((rule: any) => rule.Priority);
  assert.equal(new Set(priorities).size, priorities.length);
  const [[, distribution]] = ofType(resources, 'AWS::CloudFront::Distribution') as [[string, any]];
  assert.deepEqual(distribution.Properties.DistributionConfig.WebACLId, {
    'Fn::GetAtt': [name, 'Arn'],
  });
});

test('domain has a certificate, DNS records and minimum TLS', () => {
  const resources = edge(DOMAIN);
  assert.equal(ofType(resources, 'AWS::CertificateManager::Certificate').length, 1);
  const types = ofType(resources, 'AWS::Route53::RecordSet').map(([, r]) => r.Properties['Type']);
  assert.deepEqual(types.sort(), ['A', 'AAAA']);
  const [[, { Properties }]] = ofType(resources, 'AWS::CloudFront::Distribution') as [
    [string, any],
  ];
  const { Aliases, ViewerCertificate } = Properties.DistributionConfig;
  assert.deepEqual(Aliases, ['shop.example.com']);
  assert.equal(ViewerCertificate.MinimumProtocolVersion, 'TLSv1.2_2021');
});

test('edge in the same region needs no cross-region export', () => {
  const names = Object.keys(edge());
  assert.ok(names.length > 0);
  const { template } = synthesise({ ...PRODUCTION, region: 'us-east-1', edge: true });
  // In the same region the stacks share values directly.
  assert.equal(Object.keys(template.findResources('Custom::CrossRegionExportWriter')).length, 0);
});
