/**
 * The functions. Each one has a least-privilege role, a log group, and the alias `live`. All invocations go
 * through the alias. It moves to a new version only after the schema is migrated, and back when a deployment
 * fails.
 */
import * as path from 'node:path';

import { Duration, RemovalPolicy, Stack, Tags } from 'aws-cdk-lib';
import type * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import type * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import * as logs from 'aws-cdk-lib/aws-logs';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { certificates } from './certificates';
import { Listings, type Database, type ExternalDatabase } from './data';
import { concurrencyOf, FUNCTION_NAMES, planOf, type FunctionName } from './functions';
import type { Identity } from './identity';
import type { RoutedQueue } from './messaging';
import type { Network } from './network';
import { settingsOf } from './routes';
import { isEphemeral, type Settings } from './settings';

export interface Dependencies {
  settings: Settings;
  /** Undefined if PostgreSQL is outside of the stage's network. */
  network?: Network;
  database: Database | ExternalDatabase;
  table: dynamodb.Table;
  bus: events.EventBus;
  queues: readonly RoutedQueue[];
  identity: Identity;
}

export class ServiceFunction extends Construct {
  readonly function: lambda.Function;
  readonly alias: lambda.Alias;
  readonly logGroup: logs.LogGroup;

  constructor(
    scope: Construct,
    readonly name: FunctionName,
    dependencies: Dependencies,
    layers: lambda.ILayerVersion[],
  ) {
    super(scope, name);
    const plan = planOf(name);
    const { settings } = dependencies;
    const stack = Stack.of(this);
    const usesDatabase = plan.database !== 'none';
    const network = usesDatabase ? dependencies.network : undefined;
    this.logGroup = new logs.LogGroup(this, 'Logs', {
      retention: isEphemeral(settings) ? logs.RetentionDays.ONE_WEEK : logs.RetentionDays.ONE_MONTH,
      removalPolicy: isEphemeral(settings) ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    const role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      description: `Permissions of ${name}`,
    });
    this.logGroup.grantWrite(role);
    const environment: Record<string, string> = {
      VITRINA_ROLE: plan.processRole,
      RUST_LOG: 'info',
      VITRINA_METRICS_NAMESPACE: `Vitrina/${stack.stackName}`,
      ...(settings.revision === undefined ? {} : { VITRINA_REVISION: settings.revision }),
      ...(settings.tracesEndpoint === undefined
        ? {}
        : { OTEL_EXPORTER_OTLP_ENDPOINT: settings.tracesEndpoint }),
      ...(settings.emulator === undefined
        ? {}
        : {
            AWS_ENDPOINT_URL: settings.emulator.endpoint,
            AWS_ENDPOINT_URL_EVENTBRIDGE: settings.emulator.eventsEndpoint,
          }),
    };
    if (usesDatabase) {
      const access =
        plan.database === 'owner'
          ? dependencies.database.forOwner(plan.service)
          : dependencies.database.forService(plan.service);
      access.allow(role);
      Object.assign(environment, access.environment);
      environment['VITRINA_DATABASE_CONNECTIONS'] = String(plan.pool);
    }
    if (plan.listings.length > 0) {
      environment['VITRINA_LISTINGS_TABLE'] = dependencies.table.tableName;
      role.addToPolicy(
        new iam.PolicyStatement({
          actions: plan.listings.map((action) => `dynamodb:${action}`),
          resources: [
            dependencies.table.tableArn,
            // Listed one by one, so that future indexes are not readable.
            ...(name === 'catalog-api'
              ? Listings.INDEXES.map(([index]) => `${dependencies.table.tableArn}/index/${index}`)
              : []),
          ],
        }),
      );
    }
    if (plan.service === 'catalog' && plan.processRole === 'api') {
      environment['VITRINA_CURRENCY'] = settings.currency;
    }
    if (plan.publishes) {
      environment['VITRINA_EVENT_BUS'] = dependencies.bus.eventBusName;
      dependencies.bus.grantPutEventsTo(role);
    }
    if (plan.verifies) Object.assign(environment, dependencies.identity.environment());
    if (network !== undefined) allowInterfaces(role);
    this.function = new lambda.Function(this, 'Function', {
      description: `${plan.service}, role ${plan.processRole}`,
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture:
        settings.architecture === 'arm64' ? lambda.Architecture.ARM_64 : lambda.Architecture.X86_64,
      handler: 'bootstrap',
      code: lambda.Code.fromAsset(path.join(settings.artifacts, plan.service)),
      memorySize: plan.memory,
      timeout: Duration.seconds(plan.timeout),
      reservedConcurrentExecutions: concurrencyOf(name, settings.apiConcurrency),
      role,
      environment,
      layers: usesDatabase ? layers : [],
      logGroup: this.logGroup,
      ...(network === undefined
        ? {}
        : {
            vpc: network.vpc,
            vpcSubnets: network.functionSubnets,
            securityGroups: [network.functions],
          }),
      // A failed deployment rolls back to an older version.
      currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN },
    });
    Tags.of(this.function).add('vitrina:function', name);
    this.alias = new lambda.Alias(this, 'Live', {
      aliasName: 'live',
      version: this.function.currentVersion,
    });
    acknowledge(this.function, {
      'Serverless-LambdaDLQ':
        'A lost invocation loses no data: its work is still pending in PostgreSQL or in a queue.',
      'Serverless-LambdaTracing':
        'Spans are exported over OTLP, one trace from the request to the listing; X-Ray would be billed in addition.',
    });
  }
}

/** The functions of a stage. */
export class Services extends Construct {
  readonly all: Record<FunctionName, ServiceFunction>;

  constructor(scope: Construct, id: string, dependencies: Dependencies) {
    super(scope, id);
    const layers =
      dependencies.settings.database.kind === 'aurora'
        ? [
            new lambda.LayerVersion(this, 'Certificates', {
              description: 'CA certificates of RDS and RDS Proxy',
              code: lambda.Code.fromAsset(certificates()),
            }),
          ]
        : [];
    this.all = Object.fromEntries(
      FUNCTION_NAMES.map((name) => [name, new ServiceFunction(this, name, dependencies, layers)]),
    ) as Record<FunctionName, ServiceFunction>;
    for (const queue of dependencies.queues) {
      this.connectConsumer(queue, dependencies.settings);
      this.connectDeadLetterApi(queue);
    }
  }

  /**
   * A consumer sends unreadable messages to the dead letters with a reason. During a store outage it
   * sends messages again, so that an outage costs no attempts.
   */
  private connectConsumer(routed: RoutedQueue, settings: Settings): void {
    const { queue, deadLetters } = routed;
    const consumer = this.all[routed.consumer];
    consumer.function.addEnvironment('VITRINA_QUEUE_URL', queue.queueUrl);
    consumer.function.addEnvironment('VITRINA_DEAD_LETTER_QUEUE_URL', deadLetters.queueUrl);
    allowQueue(consumer, queue, ['SendMessage', 'ChangeMessageVisibility']);
    allowQueue(consumer, deadLetters, ['SendMessage']);
    consumer.alias.addEventSource(
      new SqsEventSource(queue, {
        batchSize: 10,
        reportBatchItemFailures: true,
        // No more than the reserved concurrency: a throttled invocation counts as a receive.
        maxConcurrency: concurrencyOf(routed.consumer, settings.apiConcurrency),
      }),
    );
    acknowledge(consumer.alias, {
      'Serverless-LambdaEventSourceMappingDestination':
        'Failed messages stay in the queue, and its redrive policy is the destination.',
    });
  }

  private connectDeadLetterApi({ name, queue, deadLetters }: RoutedQueue): void {
    const api = this.all['sync-api'];
    const names = settingsOf(name);
    api.function.addEnvironment(names.queue, queue.queueUrl);
    api.function.addEnvironment(names.deadLetters, deadLetters.queueUrl);
    allowQueue(api, queue, ['SendMessage', 'GetQueueAttributes']);
    allowQueue(api, deadLetters, [
      'ReceiveMessage',
      'DeleteMessage',
      'ChangeMessageVisibility',
      'GetQueueAttributes',
    ]);
  }
}

function allowQueue(to: ServiceFunction, queue: sqs.Queue, actions: string[]): void {
  to.function.addToRolePolicy(
    new iam.PolicyStatement({
      actions: actions.map((action) => `sqs:${action}`),
      resources: [queue.queueArn],
    }),
  );
}

/** The permissions that Lambda needs to attach a function to a network. */
function allowInterfaces(role: iam.Role): void {
  const policy = new iam.Policy(role, 'Interfaces', {
    roles: [role],
    statements: [
      new iam.PolicyStatement({
        actions: [
          'ec2:CreateNetworkInterface',
          'ec2:DeleteNetworkInterface',
          'ec2:DescribeNetworkInterfaces',
          'ec2:DescribeSubnets',
          'ec2:AssignPrivateIpAddresses',
          'ec2:UnassignPrivateIpAddresses',
        ],
        resources: ['*'],
      }),
    ],
  });
  acknowledge(policy, {
    'AwsSolutions-IAM5[Resource::*]':
      'Lambda creates network interfaces with this role, and EC2 does not support resources for these actions.',
  });
}
