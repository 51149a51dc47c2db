/** What is measured of a stage: everything that alarms and dashboards are made of. */
import type * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import type * as sns from 'aws-cdk-lib/aws-sns';
import type * as sqs from 'aws-cdk-lib/aws-sqs';

import type { FunctionName } from './functions';

export interface Observed {
  stage: string;
  apiId: string;
  functions: Record<FunctionName, lambda.IFunction>;
  queue: sqs.IQueue;
  deadLetters: sqs.IQueue;
  table: dynamodb.ITable;
  /** Where alarms are told. */
  topic: sns.ITopic;
  /** The namespace of the metrics that the functions write. */
  metricsNamespace: string;
  /** Nothing ticks in it. */
  sleeps: boolean;
}
