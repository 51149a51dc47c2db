/**
 * Who may deliver from GitHub, and to where: a role for each environment of the repository, which a job
 * gets by the token that GitHub signs for it. There is no key that could be lost.
 *
 * GitHub says in the token which repository and which environment a job runs in, and lets a job run in an
 * environment only by the environment's own rules: branches, reviewers. So whoever may approve a job of
 * the environment `production` decides what happens in that account, and nobody else.
 */
import { Aws, CfnOutput, Duration, Stack, StackProps } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';

const ISSUER = 'token.actions.githubusercontent.com';

/** What jobs of an environment do. */
export type Purpose =
  /** Deploys one stage of this name, and is asked before it is touched. */
  | 'stage'
  /** Makes and removes a stage for each feature branch. */
  | 'feature'
  /** Compares a template with what is deployed. */
  | 'diff';

export interface DeliveryProps extends StackProps {
  /** `owner/name` on GitHub. */
  readonly repository: string;
  /** Environments of the repository whose jobs come to this account. */
  readonly environments: Readonly<Record<string, Purpose>>;
  /** Of `cdk bootstrap` in this account. */
  readonly qualifier?: string;
  /** The provider, where the account has it already: an account can have one for an issuer. */
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
      // As long as a deployment may take whose database is made.
      maxSessionDuration: Duration.hours(purpose === 'diff' ? 1 : 2),
      assumedBy: new iam.WebIdentityPrincipal(provider, {
        StringEquals: {
          [`${ISSUER}:aud`]: 'sts.amazonaws.com',
          // Both in one claim, and compared as a whole: nothing in it is a pattern.
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

  /** The roles that `cdk bootstrap` made, which do what CloudFormation and the assets need. */
  private bootstrapped(names: readonly string[]): string[] {
    const qualifier = this.delivery.qualifier ?? 'hnb659fds';
    return names.map(
      (name) =>
        `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:role/cdk-${qualifier}-${name}-role-${Aws.ACCOUNT_ID}-*`,
    );
  }

  /** What `deploy-code` does. */
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
        // It knows no resources.
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

  /** What `check-stage` does: never in production, where it would be somebody's user pool. */
  private allowChecks(role: iam.Role, stage: string): void {
    if (stage === 'production') return;
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'HaveAUserForTheChecks',
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
        sid: 'SeeWhetherSomethingWasGivenUp',
        actions: ['sqs:GetQueueAttributes'],
        resources: [this.arn('sqs', `Vitrina-${stage}-*`)],
      }),
    );
  }

  /** What `reap` does. */
  private allowReaping(role: iam.Role, stage: string): void {
    role.addToPolicy(
      new iam.PolicyStatement({
        sid: 'ListStages',
        actions: ['cloudformation:DescribeStacks', 'logs:DescribeLogGroups'],
        // Lists are of everything.
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
 * What is said on the command line, the environments as `sandbox=stage,feature=feature,diff=diff`.
 *
 * @throws DeliveryError that names every fault.
 */
export function readDelivery(
  repository: string,
  written: string,
): Pick<DeliveryProps, 'repository' | 'environments'> {
  const faults: string[] = [];
  const purposes: readonly string[] = ['stage', 'feature', 'diff'] satisfies Purpose[];
  const environments: Record<string, Purpose> = {};
  for (const part of written.split(',').filter((part) => part !== '')) {
    const [name, purpose, ...more] = part.split('=');
    if (name === undefined || purpose === undefined || more.length > 0) {
      faults.push(`environments: ${part} is not of the form name=purpose`);
    } else if (!purposes.includes(purpose)) {
      faults.push(`environments: ${purpose} is none of ${purposes.join(', ')}`);
    } else {
      environments[name] = purpose as Purpose;
    }
  }
  const others = faultsOf({ repository, environments });
  // Where some could not be read, it is not said that there are none.
  faults.push(...(faults.length > 0 ? others.filter((fault) => fault !== NONE) : others));
  if (faults.length > 0) throw new DeliveryError(faults);
  return { repository, environments };
}

const NONE = 'environments: there are none';

function faultsOf({ repository, environments }: DeliveryProps): string[] {
  const faults: string[] = [];
  // With a star in it, the claim would be compared with everybody's repositories by whoever reads it
  // as a pattern; with a colon, it would say which environment.
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*\/[A-Za-z0-9._-]+$/.test(repository)) {
    faults.push(`repository: ${repository || 'it'} is not owner/name`);
  }
  if (Object.keys(environments).length === 0) faults.push(NONE);
  for (const [name, purpose] of Object.entries(environments)) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) {
      faults.push(`environments: ${name} is not a name of a-z, 0-9 and -`);
    }
    if (purpose === 'stage' && name.startsWith('f-')) {
      faults.push(`environments: ${name} would be a stage of a feature branch`);
    }
  }
  return faults;
}

function pascal(name: string): string {
  return name.replace(/(^|-)([a-z0-9])/g, (_, _dash, letter: string) => letter.toUpperCase());
}
