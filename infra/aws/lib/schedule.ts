/**
 * Background work. Every minute the relay publishes events that the API did not publish itself, and every
 * few minutes reconciliation compares a slice.
 *
 * A schedule would wake a sleeping database for nothing. There, the relay runs after each invocation that may
 * have written, triggered by the line that Lambda logs at the end of an invocation. If the relay leaves
 * events pending it fails, and a queue delivers the failure back to it a minute later, until the outbox is
 * empty.
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

/** The line that Lambda logs at the end of every invocation, including crashes and timeouts. */
const INVOCATION_END = logs.FilterPattern.literal('"REPORT RequestId"');

export class Schedule extends Construct {
  constructor(scope: Construct, id: string, settings: Settings, services: Services) {
    super(scope, id);
    const relay = services.all['inventory-relay'];
    const reconcile = services.all['sync-reconcile'];
    if (sleeps(settings)) {
      this.runAfter('RelayAfterApi', services.all['inventory-api'], relay);
      this.runAfter('RelayAfterReconcile', reconcile, relay);
      this.runAfter('ReconcileAfterApi', services.all['sync-api'], reconcile);
      this.retryOnFailure(relay);
    } else {
      this.runEvery('Relay', Duration.minutes(1), relay, 'Publishes pending events');
      this.runEvery(
        'Reconcile',
        Duration.minutes(settings.reconcileMinutes),
        reconcile,
        'Compares a slice of the two stores',
      );
    }
  }

  private runEvery(id: string, pause: Duration, what: ServiceFunction, description: string): void {
    new Scheduled(this, id, {
      description,
      schedule: ScheduleExpression.rate(pause),
      // The next run makes up for a failed one.
      target: new LambdaInvoke(what.alias, { retryAttempts: 0, maxEventAge: Duration.minutes(1) }),
    });
    what.alias.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1) });
    acknowledge(what.alias, {
      'Serverless-LambdaAsyncFailureDestination':
        'The next scheduled run makes up for a failed one; pending events stay in PostgreSQL.',
    });
  }

  private runAfter(id: string, first: ServiceFunction, then: ServiceFunction): void {
    first.logGroup.addSubscriptionFilter(id, {
      destination: new LambdaDestination(then.alias),
      filterPattern: INVOCATION_END,
    });
  }

  private retryOnFailure(relay: ServiceFunction): void {
    const again = new sqs.Queue(this, 'Again', {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      deliveryDelay: Duration.minutes(1),
      // Just long enough for the previous run to end: handling this message twice is harmless.
      visibilityTimeout: Duration.seconds(Math.max(60, planOf('inventory-relay').timeout)),
      retentionPeriod: Duration.days(14),
      removalPolicy: RemovalPolicy.DESTROY,
    });
    relay.alias.configureAsyncInvoke({ retryAttempts: 0, onFailure: new SqsDestination(again) });
    // Failures that wait together cause a single run.
    relay.alias.addEventSource(
      new SqsEventSource(again, {
        batchSize: 100,
        maxBatchingWindow: Duration.seconds(5),
        maxConcurrency: 2,
      }),
    );
    const reason = 'A retry signal: it is redelivered until no event is pending.';
    acknowledge(again, { 'AwsSolutions-SQS3': reason, 'Serverless-SQSRedrivePolicy': reason });
    acknowledge(relay.alias, { 'Serverless-LambdaEventSourceMappingDestination': reason });
  }
}
