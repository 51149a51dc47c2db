/** The routes of events to queues, from the table that the local edition uses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CONSUMERS, type Consumers } from './functions';
import { ROOT } from './paths';

/** A rule of EventBridge, and the queue that it feeds. */
export interface Rule {
  readonly queue: string;
  readonly eventPattern: { readonly source: string[]; readonly 'detail-type'?: string[] };
}

/** Every rule. A test of the crate `shared` compares the file with its table of routes. */
export function readRules(): Rule[] {
  const text = readFileSync(join(ROOT, 'shared/src/contract/routes.json'), 'utf8');
  return (JSON.parse(text) as { rules: Rule[] }).rules;
}

/** The rules, and the function that consumes each queue. */
export interface Routing {
  readonly rules: readonly Rule[];
  readonly consumers: Consumers;
}

export function readRouting(): Routing {
  return { rules: readRules(), consumers: CONSUMERS };
}

/** The queues of the rules, each once, in the order of their first rule. */
export function queuesOf(rules: readonly Rule[]): string[] {
  return [...new Set(rules.map(({ queue }) => queue))];
}

/**
 * The settings that name a queue and its dead letters to the operators' API. `SqsConfig::read_all` of the
 * crate `shared` reads them and refuses to start without one of them.
 */
export function settingsOf(queue: string): { queue: string; deadLetters: string } {
  const suffix = queue.toUpperCase().replaceAll('-', '_');
  return {
    queue: `VITRINA_QUEUE_URL_${suffix}`,
    deadLetters: `VITRINA_DEAD_LETTER_QUEUE_URL_${suffix}`,
  };
}

/** A queue's name in a logical id or an output: `OrderMail` for `order-mail`. */
export function pascalCase(queue: string): string {
  return queue.replace(/(^|-)(.)/g, (_, __, letter: string) => letter.toUpperCase());
}
