/**
 * The roles that GitHub jobs assume: one for each environment of the repository, through the token that
 * GitHub signs for a job. There is no stored key that could leak.
 *
 * The token names the job's repository and environment. GitHub runs a job in an environment only under the
 * environment's own rules: branches, reviewers. Only the reviewers of the environment `production` can
 * therefore allow a change to that account.
 */
import { Aws, CfnOutput, Duration, Stack, StackProps } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';

const ISSUER = 'token.actions.githubusercontent.com';

/** What jobs of an environment may do. */
export type Purpose =
  /** Deploy the stage with the environment's name. */
  | 'stage'
  /** Create and remove a stage for each feature branch. */
  | 'feature'
  /** Compare a template with the deployed one. */
  | 'diff';

export interface DeliveryProps extends StackProps {
  /** `owner/name` on GitHub. */
  readonly repository: string;
  /** Environments of the repository with jobs in this account. */
  readonly environments: Readonly<Record<string, Purpose>>;
  /** The qualifier of `cdk bootstrap` in this account. */
  readonly qualifier?: string;
  /** An existing identity provider: an account can have only one for an issuer. */
  readonly providerArn?: string;
}

export class DeliveryError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'));
    this.name = 'DeliveryError';
  }
}

export class Delivery extends Stack {
  constructor(
    scope: Construct,
    id: string,
    private readonly delivery: DeliveryProps,
  ) {
    super(scope, id, delivery);
    const faults = faultsOf(delivery);
    if (faults.length > 0) throw new DeliveryError(faults);
    const provider =
      delivery.providerArn ??
      new iam.OidcProviderNative(this, 'GitHub', {
        url: `https://${ISSUER}`,
        clientIds: ['sts.amazonaws.com'],
      }).oidcProviderArn;
    for (const [environment, purpose] of Object.entries(delivery.environments)) {
      const role = this.role(provider, environment, purpose);
      new CfnOutput(this, `Role${pascal(environment)}`, {
        value: role.roleArn,
        description: `AWS_ROLE of the environment ${environment}`,
      });
    }
  }

  private role(provider: string, environment: string, purpose: Purpose): iam.Role {
    const role = new iam.Role(this, pascal(environment), {
      description: `Jobs of ${this.delivery.repository} in the environment ${environment}`,
      // The maximum duration of a deployment that creates a database.
      maxSessionDuration: Duration.hours(purpose === 'diff' ? 1 : 2),
      assumedBy: new iam.WebIdentityPrincipal(provider, {
        StringEquals: {
          [`${ISSUER}:aud`]: 'sts.amazonaws.com',
          // Compared as a whole with StringEquals, which has no wildcards.
          [`${ISSUER}:sub`]: `repo:${this.delivery.repository}:environment:${environment}`,
        },
      }),
    });
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'DeployAsBootstrapped',
        actions: ['sts:AssumeRole'],
        resources: this.bootstrapped(
          purpose === 'diff' ? ['lookup'] : ['deploy', 'file-publishing', 'lookup'],
        ),
      }),
    );
    if (purpose === 'diff') return role;
    const stage = purpose === 'feature' ? 'f-*' : environment;
    this.allowCode(role, stage);
    this.allowChecks(role, stage);
    if (purpose === 'feature') this.allowReaping(role, stage);
    return role;
  }

  /** The roles that `cdk bootstrap` created for CloudFormation and assets. */
  private bootstrapped(names: readonly string[]): string[] {
    const qualifier = this.delivery.qualifier ?? 'hnb659fds';
    return names.map(
      (name) =>
        `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:role/cdk-${qualifier}-${name}-role-${Aws.ACCOUNT_ID}-*`,
    );
  }

  /** Permissions of `deploy-code`. */
  private allowCode(role: iam.Role, stage: string): void {
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'PublishCode',
        actions: [
          'lambda:GetAlias',
          'lambda:GetFunction',
          'lambda:GetFunctionConfiguration',
          'lambda:InvokeFunction',
          'lambda:UpdateAlias',
          'lambda:UpdateFunctionCode',
        ],
        resources: [this.arn('lambda', `function:Vitrina-${stage}-*`)],
      }),
    );
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'FindFunctions',
        actions: ['tag:GetResources'],
        // This action does not support resources.
        resources: ['*'],
      }),
    );
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'ReadOutputs',
        actions: ['cloudformation:DescribeStacks'],
        resources: [this.arn('cloudformation', `stack/Vitrina-${stage}/*`)],
      }),
    );
  }

  /** Permissions of `check-stage`. Not in production, which has the user pool of real users. */
  private allowChecks(role: iam.Role, stage: string): void {
    if (stage === 'production') return;
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'ManageCheckUser',
        actions: [
          'cognito-idp:AdminAddUserToGroup',
          'cognito-idp:AdminCreateUser',
          'cognito-idp:AdminDeleteUser',
          'cognito-idp:AdminSetUserPassword',
        ],
        resources: [this.arn('cognito-idp', 'userpool/*')],
        conditions: { StringLike: { 'aws:ResourceTag/vitrina:stage': stage } },
      }),
    );
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'CountDeadLetters',
        actions: ['sqs:GetQueueAttributes'],
        resources: [this.arn('sqs', `Vitrina-${stage}-*`)],
      }),
    );
  }

  /** Permissions of `reap`. */
  private allowReaping(role: iam.Role, stage: string): void {
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'ListStages',
        actions: ['cloudformation:DescribeStacks', 'logs:DescribeLogGroups'],
        // List actions do not support resources.
        resources: ['*'],
      }),
    );
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'RemoveStages',
        actions: ['cloudformation:DeleteStack', 'logs:DeleteLogGroup'],
        resources: [
          this.arn('cloudformation', `stack/Vitrina-${stage}/*`),
          this.arn('logs', `log-group:/aws/lambda/Vitrina-${stage}`),
        ],
      }),
    );
  }

  private arn(service: string, resource: string): string {
    return `arn:${Aws.PARTITION}:${service}:*:${Aws.ACCOUNT_ID}:${resource}`;
  }
}

/**
 * Parses the command line settings, with environments such as `sandbox=stage,feature=feature,diff=diff`.
 *
 * @throws DeliveryError that names every fault.
 */
export function readDelivery(
  repository: string,
  list: string,
): Pick<DeliveryProps, 'repository' | 'environments'> {
  const faults: string[] = [];
  const purposes: readonly string[] = ['stage', 'feature', 'diff'] satisfies Purpose[];
  const environments: Record<string, Purpose> = {};
  for (const part of list.split(',').filter((part) => part !== '')) {
    const [name, purpose, ...more] = part.split('=');
    if (name === undefined || purpose === undefined || more.length > 0) {
      faults.push(`environments: ${part} is not of the form name=purpose`);
    } else if (!purposes.includes(purpose)) {
      faults.push(`environments: ${purpose} is not one of ${purposes.join(', ')}`);
    } else {
      environments[name] = purpose as Purpose;
    }
  }
  const others = faultsOf({ repository, environments });
  // If some environments could not be parsed, an empty list is not a fault of its own.
  faults.push(...(faults.length > 0 ? others.filter((fault) => fault !== NO_ENVIRONMENT) : others));
  if (faults.length > 0) throw new DeliveryError(faults);
  return { repository, environments };
}

const NO_ENVIRONMENT = 'environments: must not be empty';

function faultsOf({ repository, environments }: DeliveryProps): string[] {
  const faults: string[] = [];
  // A star could match other repositories if the claim were compared as a pattern; a colon could
  // change the environment in the claim.
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*\/[A-Za-z0-9._-]+$/.test(repository)) {
    faults.push(`repository: ${JSON.stringify(repository)} is not owner/name`);
  }
  if (Object.keys(environments).length === 0) faults.push(NO_ENVIRONMENT);
  for (const [name, purpose] of Object.entries(environments)) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) {
      faults.push(`environments: ${name} must consist of a-z, 0-9 and -`);
    }
    if (purpose === 'stage' && name.startsWith('f-')) {
      faults.push(
        `environments: ${name} has the prefix f-, which is reserved for feature branches`,
      );
    }
  }
  return faults;
}

function pascal(name: string): string {
  return name.replace(/(^|-)([a-z0-9])/g, (_, _dash, letter: string) => letter.toUpperCase());
}
