/** Delivers events from the bus to the queues of the routes; failed ones go to their dead letters. */
import { Duration, Names, RemovalPolicy } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { planOf, type Consumers, type FunctionName } from './functions';
import { pascalCase, queuesOf, type Routing, type Rule } from './routes';
import { isEphemeral, type Settings } from './settings';

/** The maximum retention of SQS. */
const MAX_RETENTION = Duration.days(14);

/**
 * A consumer moves a message to the dead letters after five failures, with the reason. This limit
 * catches messages that crash or time out the consumer.
 */
const MAX_RECEIVES = 8;

/** The queue of the projector. Its resources were deployed before there were others, and keep their names. */
export const CATALOGUE = 'catalog';

/** A queue of the routes, its dead letters, and the function that consumes it. */
export interface RoutedQueue {
  readonly name: string;
  readonly queue: sqs.Queue;
  readonly deadLetters: sqs.Queue;
  readonly consumer: FunctionName;
}

export class Messaging extends Construct {
  readonly bus: events.EventBus;
  /** In the order of the routes. */
  readonly queues: readonly RoutedQueue[];

  constructor(scope: Construct, id: string, settings: Settings, { rules, consumers }: Routing) {
    super(scope, id);
    const ephemeral = isEphemeral(settings);
    const durable = {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: MAX_RETENTION,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    };
    const names = queuesOf(rules);
    checkConsumers(names, consumers);
    this.queues = names.map((name) => {
      const consumer = consumers[name];
      if (consumer === undefined) throw new Error(`no function consumes the queue ${name}`);
      const prefix = name === CATALOGUE ? '' : pascalCase(name);
      const deadLetters = new sqs.Queue(this, `${prefix}DeadLetters`, durable);
      const queue = new sqs.Queue(this, `${prefix}Queue`, {
        ...durable,
        // Six times the consumer's timeout, so that no message is redelivered while in progress.
        visibilityTimeout: Duration.seconds(6 * planOf(consumer).timeout),
        deadLetterQueue: { queue: deadLetters, maxReceiveCount: MAX_RECEIVES },
      });
      acknowledge(deadLetters, {
        'Serverless-SQSRedrivePolicy':
          'This is the dead-letter queue; an operator handles its messages.',
      });
      return { name, queue, deadLetters, consumer };
    });
    this.bus = new events.EventBus(this, 'Bus', {
      eventBusName: Names.uniqueResourceName(this, { maxLength: 64 }),
    });
    for (const { name, queue, deadLetters } of this.queues) {
      const to = `To${name === CATALOGUE ? 'Catalogue' : pascalCase(name)}`;
      rules
        .filter((rule) => rule.queue === name)
        .forEach(({ eventPattern }, index) => {
          // Logical ids stay what they are when a rule is added.
          new events.Rule(this, index === 0 ? to : `${to}${index + 1}`, {
            eventBus: this.bus,
            description: `Events of ${eventPattern.source.join(', ')} go to the queue ${name}`,
            eventPattern: { source: eventPattern.source, detailType: eventPattern['detail-type'] },
            targets: [
              new targets.SqsQueue(queue, {
                deadLetterQueue: deadLetters,
                maxEventAge: Duration.hours(24),
                retryAttempts: 185,
              }),
            ],
          });
        });
    }
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

/** A function has the settings of one queue, so those of a second one would replace them. */
function checkConsumers(queues: readonly string[], consumers: Consumers): void {
  const known = new Map<FunctionName, string>();
  for (const [queue, consumer] of Object.entries(consumers)) {
    if (!queues.includes(queue)) {
      throw new Error(`${consumer} consumes the queue ${queue}, which no rule feeds`);
    }
    const other = known.get(consumer);
    if (other !== undefined) {
      throw new Error(`${consumer} consumes two queues: ${other} and ${queue}`);
    }
    known.set(consumer, queue);
  }
}

/** The sources of all rules, each once. */
function sourcesOf(rules: readonly Rule[]): string[] {
  return [...new Set(rules.flatMap(({ eventPattern }) => eventPattern.source))];
}
