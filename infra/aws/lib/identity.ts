/** Who sellers, buyers and operators are: a user pool whose groups are the roles. */
import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as cognito from 'aws-cdk-lib/aws-cognito';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { isEphemeral, type Settings } from './settings';

export class Identity extends Construct {
  readonly pool: cognito.UserPool;
  readonly client: cognito.UserPoolClient;
  /** Who signs the tokens. */
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
      // Has all of this; the one above it costs almost three times as much.
      featurePlan: cognito.FeaturePlan.LITE,
      mfa: cognito.Mfa.OPTIONAL,
      mfaSecondFactor: { otp: true, sms: false },
      accountRecovery: cognito.AccountRecovery.EMAIL_ONLY,
      deletionProtection: !ephemeral,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    for (const [name, description] of [
      ['buyer', 'Reads the catalogue'],
      ['seller', 'Keeps products'],
      ['operator', 'Looks after the marketplace'],
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
        'A second factor is offered and not forced: buyers would stay away. Operators get theirs when they are put into the group.',
      'AwsSolutions-COG8':
        'The Plus tier costs $0.02 a user and month, $1,000 for 50,000: threat protection is all that it adds here, and the edge limits addresses.',
    });
  }

  /** What a service needs to know in order to verify tokens by itself. */
  environment(): Record<string, string> {
    const { emulator } = this.settings;
    return {
      VITRINA_AUTH_ISSUER: this.issuer,
      VITRINA_AUTH_AUDIENCE: this.client.userPoolClientId,
      VITRINA_AUTH_ROLES_CLAIM: 'cognito:groups',
      // The issuer's name is that of AWS, wherever it runs.
      ...(emulator === undefined
        ? {}
        : {
            VITRINA_AUTH_JWKS_URL: `${emulator.endpoint}/${this.pool.userPoolId}/.well-known/jwks.json`,
          }),
    };
  }
}
