/** The routes of events to queues, from the table that the local edition uses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

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
