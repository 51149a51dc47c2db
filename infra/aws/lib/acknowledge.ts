/** Accepted findings of the rule packs, each with a reason. */
import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** If set in an app's context, accepted findings are reported, too. */
export const SHOW_ALL = 'vitrina:show-all-findings';

export interface Acknowledged {
  construct: IConstruct;
  id: string;
}

/** All acknowledgements, so that a test can find those without a finding. */
export const acknowledged: Acknowledged[] = [];

/**
 * Accepts findings at `construct` and below it.
 *
 * @param reasons The reasons by rule id, with the finding's id in brackets if a rule has several
 *   findings.
 */
export function acknowledge(construct: IConstruct, reasons: Record<string, string>): void {
  for (const [id, reason] of Object.entries(reasons)) {
    acknowledged.push({ construct, id });
    if (construct.node.tryGetContext(SHOW_ALL) !== true) {
      Validations.of(construct).acknowledge({ id, reason });
    }
  }
}
