/** The user pool of sellers, buyers and operators, with a group for each role. */
import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as cognito from 'aws-cdk-lib/aws-cognito';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { isEphemeral, type Settings } from './settings';

export class Identity extends Construct {
  readonly pool: cognito.UserPool;
  readonly client: cognito.UserPoolClient;
  /** The issuer of the tokens. */
  readonly issuer: string;

  constructor(
    scope: Construct,
    id: string,
    private readonly settings: Settings,
  ) {
    super(scope, id);
    const ephemeral = isEphemeral(settings);
    this.pool = new cognito.UserPool(this, 'Pool', {
      signInAliases: { email: true },
      selfSignUpEnabled: true,
      autoVerify: { email: true },
      keepOriginal: { email: true },
      passwordPolicy: {
        minLength: 12,
        requireDigits: true,
        requireLowercase: true,
        requireUppercase: true,
        requireSymbols: true,
        tempPasswordValidity: Duration.days(3),
      },
      // Includes every feature used here; the next plan costs almost three times as much.
      featurePlan: cognito.FeaturePlan.LITE,
      mfa: cognito.Mfa.OPTIONAL,
      mfaSecondFactor: { otp: true, sms: false },
      accountRecovery: cognito.AccountRecovery.EMAIL_ONLY,
      deletionProtection: !ephemeral,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    for (const [name, description] of [
      ['buyer', 'Reads the catalogue'],
      ['seller', 'Manages products'],
      ['operator', 'Operates the marketplace'],
    ] as const) {
      new cognito.CfnUserPoolGroup(this, name, {
        userPoolId: this.pool.userPoolId,
        groupName: name,
        description,
      });
    }
    this.client = this.pool.addClient('Client', {
      authFlows: { userSrp: true, userPassword: true },
      generateSecret: false,
      preventUserExistenceErrors: true,
      enableTokenRevocation: true,
      accessTokenValidity: Duration.minutes(15),
      idTokenValidity: Duration.minutes(15),
      refreshTokenValidity: Duration.days(30),
    });
    const { region, urlSuffix } = Stack.of(this);
    this.issuer = `https://cognito-idp.${region}.${urlSuffix}/${this.pool.userPoolId}`;
    acknowledge(this.pool, {
      'AwsSolutions-COG2':
        'MFA is optional, because a required second factor deters buyers. Operators set theirs up when they join the group.',
      'AwsSolutions-COG8':
        'The Plus tier costs $0.02 a user and month, $1,000 for 50,000. It would only add threat protection, and the edge limits requests by address.',
    });
  }

  /** The settings with which a service verifies tokens. */
  environment(): Record<string, string> {
    const { emulator } = this.settings;
    return {
      VITRINA_AUTH_ISSUER: this.issuer,
      VITRINA_AUTH_AUDIENCE: this.client.userPoolClientId,
      VITRINA_AUTH_ROLES_CLAIM: 'cognito:groups',
      // The emulator's tokens name AWS as issuer, so the key set needs its own URL.
      ...(emulator === undefined
        ? {}
        : {
            VITRINA_AUTH_JWKS_URL: `${emulator.endpoint}/${this.pool.userPoolId}/.well-known/jwks.json`,
          }),
    };
  }
}
