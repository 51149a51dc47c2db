/**
 * The public entry point: CloudFront behind a firewall, caching cacheable catalogue responses. CloudFront
 * requires its firewall and certificate in us-east-1, so the edge is a separate stack there, and the stage
 * can be in any region.
 *
 * The API's own address stays reachable, with its throttles and without the firewall.
 */
import { Duration, Stack, type StackProps } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import * as origins from 'aws-cdk-lib/aws-cloudfront-origins';
import * as route53 from 'aws-cdk-lib/aws-route53';
import { CloudFrontTarget } from 'aws-cdk-lib/aws-route53-targets';
import * as wafv2 from 'aws-cdk-lib/aws-wafv2';
import { CfnOutput } from 'aws-cdk-lib';
import type { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import type { Settings } from './settings';

/** The error statuses that CloudFront caches even if the response does not allow it. */
const CACHED_ERRORS = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504];

export class Edge extends Stack {
  readonly distribution: cloudfront.Distribution;

  /** @param host The host name of the API. */
  constructor(scope: Construct, id: string, props: StackProps, settings: Settings, host: string) {
    super(scope, id, props);
    const { domain } = settings;
    const zone =
      domain &&
      route53.HostedZone.fromHostedZoneAttributes(this, 'Zone', {
        hostedZoneId: domain.hostedZoneId,
        zoneName: domain.zoneName,
      });
    const certificate =
      domain &&
      new acm.Certificate(this, 'Certificate', {
        domainName: domain.name,
        validation: acm.CertificateValidation.fromDns(zone),
      });
    const origin = new origins.HttpOrigin(host, {
      protocolPolicy: cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
      originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
      readTimeout: Duration.seconds(30),
    });
    const shared = {
      origin,
      viewerProtocolPolicy: cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
      responseHeadersPolicy: cloudfront.ResponseHeadersPolicy.SECURITY_HEADERS,
    };
    const catalogue = new cloudfront.CachePolicy(this, 'Catalogue', {
      comment: 'Caches as long as Cache-Control allows; without it, not at all',
      minTtl: Duration.seconds(0),
      defaultTtl: Duration.seconds(0),
      maxTtl: Duration.days(1),
      queryStringBehavior: cloudfront.CacheQueryStringBehavior.all(),
      // The CORS headers of a response depend on the origin.
      headerBehavior:
        settings.origins.length === 0
          ? cloudfront.CacheHeaderBehavior.none()
          : cloudfront.CacheHeaderBehavior.allowList('Origin'),
      cookieBehavior: cloudfront.CacheCookieBehavior.none(),
      enableAcceptEncodingBrotli: true,
      enableAcceptEncodingGzip: true,
    });
    this.distribution = new cloudfront.Distribution(this, 'Distribution', {
      comment: `Vitrina, stage ${settings.stage}`,
      httpVersion: cloudfront.HttpVersion.HTTP2_AND_3,
      ...(domain && certificate
        ? {
            domainNames: [domain.name],
            certificate,
            minimumProtocolVersion: cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
          }
        : {}),
      webAclId: this.firewall(settings).attrArn,
      defaultBehavior: {
        ...shared,
        allowedMethods: cloudfront.AllowedMethods.ALLOW_ALL,
        cachePolicy: cloudfront.CachePolicy.CACHING_DISABLED,
        originRequestPolicy: cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
      },
      // By default CloudFront caches these for ten seconds. A client would still get 404 for a product that
      // exists by now, and a retry after a 503 would fail.
      errorResponses: CACHED_ERRORS.map((httpStatus) => ({ httpStatus, ttl: Duration.seconds(0) })),
      additionalBehaviors: {
        '/v1/catalog/*': {
          ...shared,
          allowedMethods: cloudfront.AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
          cachePolicy: catalogue,
          compress: true,
        },
      },
    });
    if (domain && zone) {
      const target = route53.RecordTarget.fromAlias(new CloudFrontTarget(this.distribution));
      new route53.ARecord(this, 'Address', { zone, recordName: domain.name, target });
      new route53.AaaaRecord(this, 'Address6', { zone, recordName: domain.name, target });
    }
    new CfnOutput(this, 'PublicUrl', {
      value: `https://${domain?.name ?? this.distribution.distributionDomainName}`,
    });
    acknowledge(this.distribution, {
      'AwsSolutions-CFR1': 'The catalogue is public in every country.',
      'AwsSolutions-CFR3':
        'Reads are not logged, for privacy. The API logs its requests, and the firewall samples of blocked ones.',
      ...(domain
        ? {}
        : {
            'AwsSolutions-CFR4':
              'Without a domain the distribution uses the CloudFront certificate, which has no minimum TLS setting.',
          }),
    });
  }

  private firewall(settings: Settings): wafv2.CfnWebACL {
    const visibility = (metricName: string): wafv2.CfnWebACL.VisibilityConfigProperty => ({
      cloudWatchMetricsEnabled: true,
      sampledRequestsEnabled: true,
      metricName,
    });
    const managed = (
      name: string,
      priority: number,
      counted: string[] = [],
    ): wafv2.CfnWebACL.RuleProperty => ({
      name,
      priority,
      overrideAction: { none: {} },
      statement: {
        managedRuleGroupStatement: {
          vendorName: 'AWS',
          name,
          ruleActionOverrides: counted.map((rule) => ({ name: rule, actionToUse: { count: {} } })),
        },
      },
      visibilityConfig: visibility(name),
    });
    return new wafv2.CfnWebACL(this, 'Firewall', {
      scope: 'CLOUDFRONT',
      defaultAction: { allow: {} },
      visibilityConfig: visibility('Firewall'),
      rules: [
        {
          name: 'TooOften',
          priority: 0,
          action: { block: { customResponse: { responseCode: 429 } } },
          statement: {
            rateBasedStatement: {
              aggregateKeyType: 'IP',
              limit: settings.addressLimit,
              evaluationWindowSec: 300,
            },
          },
          visibilityConfig: visibility('TooOften'),
        },
        managed('AWSManagedRulesAmazonIpReputationList', 1),
        managed('AWSManagedRulesKnownBadInputsRuleSet', 2),
        // Only counted: a product may have 64 KiB and a description with HTML. It is stored and returned
        // as JSON, and the service enforces its limits.
        managed('AWSManagedRulesCommonRuleSet', 3, [
          'SizeRestrictions_BODY',
          'CrossSiteScripting_BODY',
        ]),
      ],
    });
  }
}
