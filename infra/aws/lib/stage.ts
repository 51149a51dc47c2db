/** One stage of Vitrina, without the edge stack in us-east-1. */
import { CfnOutput, Fn, RemovalPolicy, Stack, Tags, type StackProps } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Construct } from 'constructs';

import { Api } from './api';
import { Database, ExternalDatabase, Listings } from './data';
import { FUNCTION_NAMES } from './functions';
import { Identity } from './identity';
import { CATALOGUE, Messaging, type RoutedQueue } from './messaging';
import { Migrations } from './migrations';
import { Network } from './network';
import { Observability } from './observability';
import { Providers } from './providers';
import { pascalCase, type Routing } from './routes';
import { Schedule } from './schedule';
import { Services } from './services';
import { isEphemeral, sleeps, type Settings } from './settings';

export class Stage extends Stack {
  /** The host name of the API. */
  readonly host: string;

  constructor(
    scope: Construct,
    id: string,
    props: StackProps,
    settings: Settings,
    routing: Routing,
  ) {
    super(scope, id, { ...props, terminationProtection: !isEphemeral(settings) });
    const listings = new Listings(this, 'Listings', settings);
    const messaging = new Messaging(this, 'Messaging', settings, routing);
    const identity = new Identity(this, 'Identity', settings);
    const { network, database } = this.postgres(settings);
    const services = new Services(this, 'Services', {
      settings,
      ...(network === undefined ? {} : { network }),
      database,
      table: listings.table,
      bus: messaging.bus,
      queues: messaging.queues,
      identity,
    });
    new Migrations(
      this,
      'Migrations',
      services,
      database instanceof Database ? [database.cluster] : [],
    );
    new Schedule(this, 'Schedule', settings, services);
    const { api } = new Api(this, 'Api', settings, services, identity);
    Providers.attach(this, settings);
    const topic = this.alarms(settings);
    this.host = `${api.apiId}.execute-api.${this.region}.${this.urlSuffix}`;
    new Observability(this, 'Observability', {
      stage: settings.stage,
      apiId: api.apiId,
      functions: Object.fromEntries<lambda.IFunction>(
        FUNCTION_NAMES.map((name) => [name, services.all[name].function]),
      ),
      queues: messaging.queues,
      table: listings.table,
      topic,
      metricsNamespace: `Vitrina/${this.stackName}`,
      sleeps: sleeps(settings),
      // A branch's stage has no on-call, and the emulator does not support composite alarms.
      budgets: !isEphemeral(settings) && settings.emulator === undefined,
    });
    const outputs = {
      // The emulator serves all APIs on one address.
      ApiUrl: settings.emulator
        ? `${settings.emulator.endpoint}/_aws/execute-api/${api.apiId}/$default`
        : `https://${this.host}`,
      ApiId: api.apiId,
      UserPoolId: identity.pool.userPoolId,
      UserPoolClientId: identity.client.userPoolClientId,
      EventBus: messaging.bus.eventBusName,
      ...Object.fromEntries(messaging.queues.flatMap(outputsOf)),
      ListingsTable: listings.table.tableName,
      AlarmTopicArn: topic.topicArn,
    };
    for (const [name, value] of Object.entries(outputs)) new CfnOutput(this, name, { value });
    Tags.of(this).add('vitrina:stage', settings.stage);
    if (settings.expires !== undefined) Tags.of(this).add('vitrina:expires', settings.expires);
  }

  /** Resolved by CloudFormation, so that synthesis needs neither credentials nor a context cache. */
  override get availabilityZones(): string[] {
    return [0, 1].map((nth) => Fn.select(nth, Fn.getAzs()));
  }

  private postgres(settings: Settings): {
    network?: Network;
    database: Database | ExternalDatabase;
  } {
    const { database } = settings;
    if (database.kind === 'external') {
      return { database: new ExternalDatabase(database.url, database.ownerSecret) };
    }
    const network = new Network(this, 'Network', settings);
    return { network, database: new Database(this, 'Database', settings, network) };
  }

  private alarms(settings: Settings): sns.Topic {
    const topic = new sns.Topic(this, 'Alarms', { enforceSSL: true });
    topic.applyRemovalPolicy(RemovalPolicy.DESTROY);
    if (settings.alarmEmail !== undefined) {
      topic.addSubscription(new EmailSubscription(settings.alarmEmail));
    }
    return topic;
  }
}

/** The URLs of a queue and of its dead letters. Those of the catalogue have no suffix. */
function outputsOf({ name, queue, deadLetters }: RoutedQueue): [string, string][] {
  const suffix = name === CATALOGUE ? '' : pascalCase(name);
  return [
    [`QueueUrl${suffix}`, queue.queueUrl],
    [`DeadLetterQueueUrl${suffix}`, deadLetters.queueUrl],
  ];
}
