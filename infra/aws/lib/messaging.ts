/** The way of an event from the bus to the projector, and where it ends when that fails. */
import { Duration, Names, RemovalPolicy } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { planOf } from './functions';
import { readRules, type Rule } from './routes';
import { isEphemeral, type Settings } from './settings';

/** As long as SQS keeps anything. */
const LONGEST = Duration.days(14);

/**
 * The projector itself buries what failed five times, with the reason; this catches what does not
 * even come to its end.
 */
const RECEIVED_AT_MOST = 8;

/** The queue of the projector, as the routes call it. */
const CATALOGUE = 'catalog';

export class Messaging extends Construct {
  readonly bus: events.EventBus;
  readonly queue: sqs.Queue;
  readonly deadLetters: sqs.Queue;

  constructor(scope: Construct, id: string, settings: Settings) {
    super(scope, id);
    const ephemeral = isEphemeral(settings);
    const kept = {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: LONGEST,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    };
    this.deadLetters = new sqs.Queue(this, 'DeadLetters', kept);
    this.queue = new sqs.Queue(this, 'Queue', {
      ...kept,
      // Six times what the projector may take, so that no message comes again while it is worked on.
      visibilityTimeout: Duration.seconds(6 * planOf('catalog-projector').timeout),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: RECEIVED_AT_MOST },
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
      'Serverless-SQSRedrivePolicy': 'It is where messages end; an operator looks at each.',
    });
    // To look things up in, and to feed a new consumer with. Nothing here depends on it.
    if (settings.emulator === undefined) {
      // Without a name, so that CloudFormation gives it one.
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
