/** Delivers events from the bus to the projector; failed ones go to the dead-letter queue. */
import { Duration, Names, RemovalPolicy } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { planOf } from './functions';
import { readRules, type Rule } from './routes';
import { isEphemeral, type Settings } from './settings';

/** The maximum retention of SQS. */
const MAX_RETENTION = Duration.days(14);

/**
 * The projector moves a message to the dead letters after five failures, with the reason. This limit
 * catches messages that crash or time out the projector.
 */
const MAX_RECEIVES = 8;

/** The queue of the projector, as the routes call it. */
const CATALOGUE = 'catalog';

export class Messaging extends Construct {
  readonly bus: events.EventBus;
  readonly queue: sqs.Queue;
  readonly deadLetters: sqs.Queue;

  constructor(scope: Construct, id: string, settings: Settings) {
    super(scope, id);
    const ephemeral = isEphemeral(settings);
    const durable = {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: MAX_RETENTION,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    };
    this.deadLetters = new sqs.Queue(this, 'DeadLetters', durable);
    this.queue = new sqs.Queue(this, 'Queue', {
      ...durable,
      // Six times the projector's timeout, so that no message is redelivered while in progress.
      visibilityTimeout: Duration.seconds(6 * planOf('catalog-projector').timeout),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: MAX_RECEIVES },
    });
    this.bus = new events.EventBus(this, 'Bus', {
      eventBusName: Names.uniqueResourceName(this, { maxLength: 64 }),
    });
    const rules = readRules();
    rules.forEach(({ queue, eventPattern }, index) => {
      if (queue !== CATALOGUE) throw new Error(`this stack has no queue ${queue}`);
      // Logical ids stay what they are when a rule is added.
      new events.Rule(this, index === 0 ? 'ToCatalogue' : `ToCatalogue${index + 1}`, {
        eventBus: this.bus,
        description: 'Every event of inventory goes to the queue of the catalogue',
        eventPattern: { source: eventPattern.source, detailType: eventPattern['detail-type'] },
        targets: [
          new targets.SqsQueue(this.queue, {
            deadLetterQueue: this.deadLetters,
            maxEventAge: Duration.hours(24),
            retryAttempts: 185,
          }),
        ],
      });
    });
    acknowledge(this.deadLetters, {
      'Serverless-SQSRedrivePolicy':
        'This is the dead-letter queue; an operator handles its messages.',
    });
    // For investigations and for replays to a new consumer. Nothing else depends on it.
    if (settings.emulator === undefined) {
      // The L1 construct, so that CloudFormation generates the name.
      new events.CfnArchive(this, 'Archive', {
        sourceArn: this.bus.eventBusArn,
        eventPattern: { source: sourcesOf(rules) },
        retentionDays: ephemeral ? 1 : 30,
      });
    }
  }
}

/** The sources of all rules, each once. */
function sourcesOf(rules: Rule[]): string[] {
  return [...new Set(rules.flatMap(({ eventPattern }) => eventPattern.source))];
}
