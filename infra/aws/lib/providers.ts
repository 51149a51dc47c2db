/**
 * Gives CDK's own custom resource functions a log group of the stage. The log group that Lambda would create
 * never expires, and remains after the stage is removed.
 */
import { Aspects, CfnResource, RemovalPolicy, Stack, type IAspect } from 'aws-cdk-lib';
import * as logs from 'aws-cdk-lib/aws-logs';
import type { IConstruct } from 'constructs';

import { isEphemeral, type Settings } from './settings';

export class Providers implements IAspect {
  static attach(stack: Stack, settings: Settings): void {
    Aspects.of(stack).add(new Providers(settings));
  }

  private constructor(private readonly settings: Settings) {}

  visit(node: IConstruct): void {
    if (!(node instanceof CfnResource) || !node.node.path.includes('CustomResourceProvider'))
      return;
    if (node.cfnResourceType !== 'AWS::Lambda::Function') return;
    const group = new logs.LogGroup(node, 'Logs', {
      retention: logs.RetentionDays.ONE_MONTH,
      removalPolicy: isEphemeral(this.settings) ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    node.addPropertyOverride('LoggingConfig', { LogGroup: group.logGroupName });
    const { emulator } = this.settings;
    if (emulator !== undefined) {
      node.addPropertyOverride('Environment.Variables.AWS_ENDPOINT_URL', emulator.endpoint);
    }
  }
}
