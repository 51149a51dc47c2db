/**
 * What buyers reach first: CloudFront, which keeps of the catalogue what may be kept, behind a
 * firewall. It lives in us-east-1, as CloudFront wants of its firewall and its certificate, in a
 * stack of its own, so that the stage may live anywhere.
 *
 * The API still has its own address, where its throttles hold and the firewall does not.
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

/** The statuses that CloudFront keeps whether or not an answer may be kept. */
const KEPT_ERRORS = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504];

export class Edge extends Stack {
  readonly distribution: cloudfront.Distribution;

  /** @param host The name of the API's own address. */
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
      comment: 'As long as Cache-Control says, and not at all where it says nothing',
      minTtl: Duration.seconds(0),
      defaultTtl: Duration.seconds(0),
      maxTtl: Duration.days(1),
      queryStringBehavior: cloudfront.CacheQueryStringBehavior.all(),
      // What a browser may read of an answer depends on where its page is from.
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
      // CloudFront keeps these for ten seconds unless told not to. A product that was not there yet would
      // not be there for whoever has seen it, and a reader who is asked to come again would come in vain.
      errorResponses: KEPT_ERRORS.map((httpStatus) => ({ httpStatus, ttl: Duration.seconds(0) })),
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
      'AwsSolutions-CFR1': 'Buyers are where they are.',
      'AwsSolutions-CFR3':
        'Who reads what is not kept. The API logs what reaches it, and the firewall samples of what it refuses.',
      ...(domain
        ? {}
        : {
            'AwsSolutions-CFR4':
              'Without a domain the certificate is that of CloudFront, which takes no minimum.',
          }),
    });
  }

  private firewall(settings: Settings): wafv2.CfnWebACL {
    const seen = (metricName: string): wafv2.CfnWebACL.VisibilityConfigProperty => ({
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
      visibilityConfig: seen(name),
    });
    return new wafv2.CfnWebACL(this, 'Firewall', {
      scope: 'CLOUDFRONT',
      defaultAction: { allow: {} },
      visibilityConfig: seen('Firewall'),
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
          visibilityConfig: seen('TooOften'),
        },
        managed('AWSManagedRulesAmazonIpReputationList', 1),
        managed('AWSManagedRulesKnownBadInputsRuleSet', 2),
        // A product may have 64 KiB and a description that speaks of HTML: it is stored and given out
        // as JSON, and its limits are those of the service.
        managed('AWSManagedRulesCommonRuleSet', 3, [
          'SizeRestrictions_BODY',
          'CrossSiteScripting_BODY',
        ]),
      ],
    });
  }
}
