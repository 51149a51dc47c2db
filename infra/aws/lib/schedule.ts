/**
 * What happens without anybody asking. The relay looks every minute for events that the API did not
 * get rid of itself, and reconciliation does a slice every few minutes.
 *
 * A database that may sleep is not woken to be asked whether there is something to do: nothing can
 * be unless a function wrote, and what Lambda writes at the end of each of its invocations says so.
 * Where the relay leaves something behind it fails, and its failure comes back to it a minute later,
 * again and again: that is the tick, for as long as the outbox is not empty.
 */
import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations';
import * as logs from 'aws-cdk-lib/aws-logs';
import { LambdaDestination } from 'aws-cdk-lib/aws-logs-destinations';
import { Schedule as Scheduled, ScheduleExpression } from 'aws-cdk-lib/aws-scheduler';
import { LambdaInvoke } from 'aws-cdk-lib/aws-scheduler-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { planOf } from './functions';
import type { ServiceFunction, Services } from './services';
import { sleeps, type Settings } from './settings';

/** The line that Lambda itself ends every invocation with, also one that died or took too long. */
const ENDED = logs.FilterPattern.literal('"REPORT RequestId"');

export class Schedule extends Construct {
  constructor(scope: Construct, id: string, settings: Settings, services: Services) {
    super(scope, id);
    const relay = services.all['inventory-relay'];
    const reconcile = services.all['sync-reconcile'];
    if (sleeps(settings)) {
      this.follow('RelayAfterApi', services.all['inventory-api'], relay);
      this.follow('RelayAfterReconcile', reconcile, relay);
      this.follow('ReconcileAfterApi', services.all['sync-api'], reconcile);
      this.comeBack(relay);
    } else {
      this.every('Relay', Duration.minutes(1), relay, 'Publishes what is still pending');
      this.every(
        'Reconcile',
        Duration.minutes(settings.reconcileMinutes),
        reconcile,
        'Compares a slice of the two stores',
      );
    }
  }

  private every(id: string, pause: Duration, what: ServiceFunction, description: string): void {
    new Scheduled(this, id, {
      description,
      schedule: ScheduleExpression.rate(pause),
      // One that failed is made up for by the next one.
      target: new LambdaInvoke(what.alias, { retryAttempts: 0, maxEventAge: Duration.minutes(1) }),
    });
    what.alias.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1) });
    acknowledge(what.alias, {
      'Serverless-LambdaAsyncFailureDestination':
        'A tick that fails is made up for by the next one; what is pending stays so in PostgreSQL.',
    });
  }

  private follow(id: string, first: ServiceFunction, then: ServiceFunction): void {
    first.logGroup.addSubscriptionFilter(id, {
      destination: new LambdaDestination(then.alias),
      filterPattern: ENDED,
    });
  }

  private comeBack(relay: ServiceFunction): void {
    const again = new sqs.Queue(this, 'Again', {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      deliveryDelay: Duration.minutes(1),
      // As soon as the one before can have ended: this is the tick, and no message that must not be
      // worked on twice.
      visibilityTimeout: Duration.seconds(Math.max(60, planOf('inventory-relay').timeout)),
      retentionPeriod: Duration.days(14),
      removalPolicy: RemovalPolicy.DESTROY,
    });
    relay.alias.configureAsyncInvoke({ retryAttempts: 0, onFailure: new SqsDestination(again) });
    // Those that wait together are one tick.
    relay.alias.addEventSource(
      new SqsEventSource(again, {
        batchSize: 100,
        maxBatchingWindow: Duration.seconds(5),
        maxConcurrency: 2,
      }),
    );
    const reason = 'It is a tick: it comes back until there is nothing left to do.';
    acknowledge(again, { 'AwsSolutions-SQS3': reason, 'Serverless-SQSRedrivePolicy': reason });
    acknowledge(relay.alias, { 'Serverless-LambdaEventSourceMappingDestination': reason });
  }
}
