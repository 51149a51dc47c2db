/** The cdk-nag rule rulePacks that check every synthesis. */
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';

export function rulePacks(): [AwsSolutionsChecks, ServerlessChecks] {
  return [new AwsSolutionsChecks(), new ServerlessChecks()];
}
