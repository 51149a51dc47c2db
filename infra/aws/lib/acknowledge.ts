/** Findings of the rule packs that stay, each with the reason why. */
import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Set in the context of an app, it has every finding reported, also those that may stand. */
export const SHOW_ALL = 'vitrina:show-all-findings';

export interface Acknowledged {
  construct: IConstruct;
  id: string;
}

/** Everything that was acknowledged, so that what is no finding any more can be found out. */
export const acknowledged: Acknowledged[] = [];

/**
 * Lets findings at `construct`, and below it, stand.
 *
 * @param reasons Why, by the id of the rule, with that of the finding in brackets where a rule has
 *   several.
 */
export function acknowledge(construct: IConstruct, reasons: Record<string, string>): void {
  for (const [id, reason] of Object.entries(reasons)) {
    acknowledged.push({ construct, id });
    if (construct.node.tryGetContext(SHOW_ALL) !== true) {
      Validations.of(construct).acknowledge({ id, reason });
    }
  }
}
