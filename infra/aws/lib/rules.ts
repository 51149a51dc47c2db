/** The rule packs that every synthesis is held against. */
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';

export function packs(): [AwsSolutionsChecks, ServerlessChecks] {
  return [new AwsSolutionsChecks(), new ServerlessChecks()];
}
