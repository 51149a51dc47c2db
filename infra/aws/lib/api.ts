/**
 * The HTTP API. The catalogue is public; all other routes require a token. The gateway verifies it, so that
 * an invalid token starts no function, and the service verifies it again.
 */
import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as apigw from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpJwtAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import type { FunctionName } from './functions';
import type { Identity } from './identity';
import type { Services } from './services';
import { isEphemeral, type Settings } from './settings';

/** Never `ANY`: it would also match CORS preflight requests, which have no token. */
const { GET, POST, PUT, PATCH, DELETE } = apigw.HttpMethod;

interface Route {
  path: string;
  methods: apigw.HttpMethod[];
  function: FunctionName;
  isPublic?: true;
}

export const ROUTES: readonly Route[] = [
  { path: '/v1/catalog/{proxy+}', methods: [GET], function: 'catalog-api', isPublic: true },
  { path: '/v1/products', methods: [GET, POST], function: 'inventory-api' },
  {
    path: '/v1/products/{proxy+}',
    methods: [GET, POST, PUT, PATCH, DELETE],
    function: 'inventory-api',
  },
  { path: '/v1/admin/outbox', methods: [GET], function: 'inventory-api' },
  { path: '/v1/admin/queues', methods: [GET], function: 'sync-api' },
  { path: '/v1/admin/dead-letters', methods: [GET], function: 'sync-api' },
  { path: '/v1/admin/dead-letters/{proxy+}', methods: [GET, POST], function: 'sync-api' },
  { path: '/v1/admin/reconciliations', methods: [GET, POST], function: 'sync-api' },
  { path: '/v1/admin/reconciliations/{id}', methods: [GET], function: 'sync-api' },
  { path: '/v1/admin/trace/{id}', methods: [GET], function: 'sync-api' },
  { path: '/openapi.json', methods: [GET], function: 'catalog-api', isPublic: true },
  { path: '/docs', methods: [GET], function: 'catalog-api', isPublic: true },
  { path: '/docs/{proxy+}', methods: [GET], function: 'catalog-api', isPublic: true },
];

export class Api extends Construct {
  readonly api: apigw.HttpApi;
  readonly stage: apigw.HttpStage;

  constructor(
    scope: Construct,
    id: string,
    settings: Settings,
    services: Services,
    identity: Identity,
  ) {
    super(scope, id);
    this.api = new apigw.HttpApi(this, 'Http', {
      apiName: Stack.of(this).stackName,
      description: `Vitrina, stage ${settings.stage}`,
      createDefaultStage: false,
      ...(settings.origins.length === 0
        ? {}
        : {
            corsPreflight: {
              allowOrigins: settings.origins,
              allowMethods: [GET, POST, PUT, PATCH, DELETE].map(
                (method) => apigw.CorsHttpMethod[method as keyof typeof apigw.CorsHttpMethod],
              ),
              allowHeaders: [
                'authorization',
                'content-type',
                'idempotency-key',
                'if-match',
                'if-none-match',
                'traceparent',
              ],
              exposeHeaders: ['etag', 'link', 'location', 'retry-after', 'x-request-id'],
              maxAge: Duration.hours(2),
            },
          }),
    });
    const accessLogs = new logs.LogGroup(this, 'Access', {
      retention: isEphemeral(settings) ? logs.RetentionDays.ONE_WEEK : logs.RetentionDays.ONE_MONTH,
      removalPolicy: isEphemeral(settings) ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    this.stage = new apigw.HttpStage(this, 'Stage', {
      httpApi: this.api,
      stageName: '$default',
      autoDeploy: true,
      throttle: { rateLimit: settings.requestRate, burstLimit: 2 * settings.requestRate },
      accessLogSettings: {
        destination: new apigw.LogGroupLogDestination(accessLogs),
        // Without query and client address, for the readers' privacy.
        format: apigateway.AccessLogFormat.custom(
          JSON.stringify({
            requestId: '$context.requestId',
            time: '$context.requestTime',
            route: '$context.routeKey',
            status: '$context.status',
            length: '$context.responseLength',
            milliseconds: '$context.responseLatency',
            refusal: '$context.authorizer.error',
            error: '$context.integrationErrorMessage',
          }),
        ),
      },
    });
    const authorizer = new HttpJwtAuthorizer('Tokens', identity.issuer, {
      jwtAudience: [identity.client.userPoolClientId],
    });
    const integrations = new Map<FunctionName, HttpLambdaIntegration>();
    for (const { path, methods, function: name, isPublic } of ROUTES) {
      const integration =
        integrations.get(name) ?? new HttpLambdaIntegration(name, services.all[name].alias);
      integrations.set(name, integration);
      const routes = this.api.addRoutes({
        path,
        methods,
        integration,
        ...(isPublic ? {} : { authorizer }),
      });
      if (isPublic) {
        for (const route of routes) {
          acknowledge(route, {
            'AwsSolutions-APIG4': 'The catalogue and the documentation are public.',
          });
        }
      }
    }
  }
}
