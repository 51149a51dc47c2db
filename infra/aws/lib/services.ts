/**
 * The functions. Each has a role that is allowed what it does and no more, a log group, and the
 * alias `live`: whoever calls a function calls the alias, which moves to a new version only after
 * the schema was migrated, and back when a deployment fails.
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
import type { Network } from './network';
import { isEphemeral, type Settings } from './settings';

export interface Surroundings {
  settings: Settings;
  /** Absent where PostgreSQL is not in a network of ours. */
  network?: Network;
  database: Database | ExternalDatabase;
  table: dynamodb.Table;
  bus: events.EventBus;
  queue: sqs.Queue;
  deadLetters: sqs.Queue;
  identity: Identity;
}

export class ServiceFunction extends Construct {
  readonly function: lambda.Function;
  readonly alias: lambda.Alias;
  readonly logGroup: logs.LogGroup;

  constructor(
    scope: Construct,
    readonly name: FunctionName,
    around: Surroundings,
    layers: lambda.ILayerVersion[],
  ) {
    super(scope, name);
    const plan = planOf(name);
    const { settings } = around;
    const stack = Stack.of(this);
    const usesDatabase = plan.database !== 'none';
    const network = usesDatabase ? around.network : undefined;
    this.logGroup = new logs.LogGroup(this, 'Logs', {
      retention: isEphemeral(settings) ? logs.RetentionDays.ONE_WEEK : logs.RetentionDays.ONE_MONTH,
      removalPolicy: isEphemeral(settings) ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    const role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      description: `What ${name} is allowed to`,
    });
    this.logGroup.grantWrite(role);
    const environment: Record<string, string> = {
      VITRINA_ROLE: plan.role,
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
        plan.database === 'owner' ? around.database.forOwner() : around.database.forApp();
      access.allow(role);
      Object.assign(environment, access.environment);
      environment['VITRINA_DATABASE_CONNECTIONS'] = String(plan.pool);
    }
    if (plan.listings.length > 0) {
      environment['VITRINA_LISTINGS_TABLE'] = around.table.tableName;
      role.addToPolicy(
        new iam.PolicyStatement({
          actions: plan.listings.map((action) => `dynamodb:${action}`),
          resources: [
            around.table.tableArn,
            // Named one by one, as nobody reads whatever index there will be.
            ...(name === 'catalog-api'
              ? Listings.INDEXES.map(([index]) => `${around.table.tableArn}/index/${index}`)
              : []),
          ],
        }),
      );
    }
    if (plan.service === 'catalog' && plan.role === 'api') {
      environment['VITRINA_CURRENCY'] = settings.currency;
    }
    if (plan.publishes) {
      environment['VITRINA_EVENT_BUS'] = around.bus.eventBusName;
      around.bus.grantPutEventsTo(role);
    }
    if (plan.verifies) Object.assign(environment, around.identity.environment());
    if (network !== undefined) allowInterfaces(role);
    this.function = new lambda.Function(this, 'Function', {
      description: `${plan.service}, role ${plan.role}`,
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
      // An older version is what a failed deployment goes back to.
      currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN },
    });
    Tags.of(this.function).add('vitrina:function', name);
    this.alias = new lambda.Alias(this, 'Live', {
      aliasName: 'live',
      version: this.function.currentVersion,
    });
    acknowledge(this.function, {
      'Serverless-LambdaDLQ':
        'Nothing is lost with an invocation: what it was about to do is pending in PostgreSQL or in a queue.',
      'Serverless-LambdaTracing':
        'Spans go out over OTLP, one trace from the request to the listing; X-Ray would be a second bill for it.',
    });
  }
}

/** The functions of a stage. */
export class Services extends Construct {
  readonly all: Record<FunctionName, ServiceFunction>;

  constructor(scope: Construct, id: string, around: Surroundings) {
    super(scope, id);
    const layers =
      around.settings.database.kind === 'aurora'
        ? [
            new lambda.LayerVersion(this, 'Certificates', {
              description: 'Whom to trust when PostgreSQL says that it is RDS',
              code: lambda.Code.fromAsset(certificates()),
            }),
          ]
        : [];
    this.all = Object.fromEntries(
      FUNCTION_NAMES.map((name) => [name, new ServiceFunction(this, name, around, layers)]),
    ) as Record<FunctionName, ServiceFunction>;
    this.feedProjector(around);
    this.giveDeadLettersToOperators(around);
  }

  /**
   * What cannot be read goes to the dead letters with its reason, and what meets a store that is
   * away is sent again, so that an outage costs no attempts.
   */
  private feedProjector({ queue, deadLetters, settings }: Surroundings): void {
    const projector = this.all['catalog-projector'];
    projector.function.addEnvironment('VITRINA_QUEUE_URL', queue.queueUrl);
    projector.function.addEnvironment('VITRINA_DEAD_LETTER_QUEUE_URL', deadLetters.queueUrl);
    allowQueue(projector, queue, ['SendMessage', 'ChangeMessageVisibility']);
    allowQueue(projector, deadLetters, ['SendMessage']);
    projector.alias.addEventSource(
      new SqsEventSource(queue, {
        batchSize: 10,
        reportBatchItemFailures: true,
        // As many as may run: more would be refused, and each refusal is a receipt of a message.
        maxConcurrency: concurrencyOf('catalog-projector', settings.apiConcurrency),
      }),
    );
    acknowledge(projector.alias, {
      'Serverless-LambdaEventSourceMappingDestination':
        'What fails stays in the queue, and its redrive policy is the destination.',
    });
  }

  private giveDeadLettersToOperators({ queue, deadLetters }: Surroundings): void {
    const api = this.all['sync-api'];
    api.function.addEnvironment('VITRINA_QUEUE_URL', queue.queueUrl);
    api.function.addEnvironment('VITRINA_DEAD_LETTER_QUEUE_URL', deadLetters.queueUrl);
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

/** What Lambda does with the role of a function when it puts it into a network. */
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
      'Lambda makes the interfaces with this role, and EC2 lets these actions be bound to no resource.',
  });
}
