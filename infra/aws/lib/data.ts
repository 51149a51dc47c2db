/** The two stores: PostgreSQL, the source of truth, and the table of listings. */
import { Annotations, Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as rds from 'aws-cdk-lib/aws-rds';
import { Construct } from 'constructs';

import { acknowledge } from './acknowledge';
import { connectionFault, connectionLimit, servicesWithDatabase } from './functions';
import type { Network } from './network';
import { isEphemeral, sleeps, type Service, type Settings } from './settings';

/** The database and its owner. */
const DATABASE = 'vitrina';
const OWNER = 'vitrina_owner';
const PORT = 5432;

/** The role that a service logs in as. Its release step creates it and grants it the service's own schema. */
export function databaseRole(service: Service): string {
  return `vitrina_${service}`;
}

/** The settings and permissions with which a function connects to PostgreSQL. */
export interface Access {
  environment: Record<string, string>;
  allow(role: iam.IGrantable): void;
}

/** The table of listings. `services/catalog/src/store/table.rs` creates the same one locally. */
export class Listings extends Construct {
  readonly table: dynamodb.Table;

  static readonly INDEXES = [
    ['all_by_price', 'all_key', 'price_key'],
    ['all_by_newest', 'all_key', 'id'],
    ['category_by_price', 'category_key', 'price_key'],
    ['category_by_newest', 'category_key', 'id'],
    ['seller_by_price', 'seller_key', 'price_key'],
    ['seller_by_newest', 'seller_key', 'id'],
  ] as const;
  static readonly CARD = [
    'name',
    'seller_id',
    'category',
    'amount',
    'currency',
    'product_version',
    'created_at',
  ];

  constructor(scope: Construct, id: string, settings: Settings) {
    super(scope, id);
    const ephemeral = isEphemeral(settings);
    this.table = new dynamodb.Table(this, 'Table', {
      partitionKey: { name: 'bucket', type: dynamodb.AttributeType.NUMBER },
      sortKey: { name: 'id', type: dynamodb.AttributeType.STRING },
      billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: 'expires_at',
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: !ephemeral,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    for (const [indexName, partition, sort] of Listings.INDEXES) {
      this.table.addGlobalSecondaryIndex({
        indexName,
        partitionKey: { name: partition, type: dynamodb.AttributeType.STRING },
        sortKey: { name: sort, type: dynamodb.AttributeType.STRING },
        projectionType: dynamodb.ProjectionType.INCLUDE,
        nonKeyAttributes: [...Listings.CARD],
      });
    }
  }
}

/** PostgreSQL on Aurora. Only the functions can reach it, and they authenticate through IAM. */
export class Database extends Construct {
  readonly cluster: rds.DatabaseCluster;
  readonly proxy?: rds.DatabaseProxy;

  constructor(scope: Construct, id: string, settings: Settings, network: Network) {
    super(scope, id);
    const { database } = settings;
    if (database.kind !== 'aurora') throw new Error('this stage uses an external database');
    const ephemeral = isEphemeral(settings);
    const fault = connectionFault(database.minCapacity, settings.apiConcurrency);
    if (fault !== undefined) Annotations.of(this).addError(fault);
    const inside = new ec2.SecurityGroup(this, 'Inside', {
      vpc: network.vpc,
      description: 'PostgreSQL',
      allowAllOutbound: false,
    });
    inside.addIngressRule(network.functions, ec2.Port.tcp(PORT), 'Functions');
    network.functions.addEgressRule(inside, ec2.Port.tcp(PORT), 'PostgreSQL');
    // The major version that all tests use.
    const engine = rds.DatabaseClusterEngine.auroraPostgres({
      version: rds.AuroraPostgresEngineVersion.VER_15_15,
    });
    const parameters = new rds.ParameterGroup(this, 'Parameters', {
      engine,
      description: 'PostgreSQL of Vitrina',
      parameters: {
        max_connections: String(connectionLimit(database.minCapacity)),
        'rds.force_ssl': '1',
        // Log sessions that wait for a lock longer than deadlock_timeout.
        log_lock_waits: '1',
        log_min_duration_statement: '1000',
      },
    });
    const serverless = { publiclyAccessible: false, autoMinorVersionUpgrade: true };
    this.cluster = new rds.DatabaseCluster(this, 'Cluster', {
      engine,
      parameterGroup: parameters,
      writer: rds.ClusterInstance.serverlessV2('Writer', serverless),
      readers: Array.from({ length: database.readers }, (_, n) =>
        // Failover targets scale with the writer.
        rds.ClusterInstance.serverlessV2(`Reader${n + 1}`, {
          ...serverless,
          scaleWithWriter: true,
        }),
      ),
      serverlessV2MinCapacity: database.minCapacity,
      serverlessV2MaxCapacity: database.maxCapacity,
      ...(sleeps(settings) ? { serverlessV2AutoPauseDuration: Duration.minutes(5) } : {}),
      vpc: network.vpc,
      vpcSubnets: network.databaseSubnets,
      securityGroups: [inside],
      port: PORT,
      defaultDatabaseName: DATABASE,
      // RDS creates and rotates the owner's password; only migrations use it.
      credentials: rds.Credentials.fromUsername(OWNER),
      manageMasterUserPassword: true,
      iamAuthentication: true,
      storageEncrypted: true,
      backup: { retention: Duration.days(database.backupDays) },
      copyTagsToSnapshot: true,
      deletionProtection: !ephemeral,
      removalPolicy: ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
      // RDS creates the log group outside the stack, so it would remain after the stage is removed.
      cloudwatchLogsExports: ephemeral ? [] : ['postgresql'],
    });
    if (database.proxy) this.proxy = this.addProxy(network, inside);
    if (ephemeral) {
      acknowledge(this.cluster, {
        'AwsSolutions-RDS10':
          'An ephemeral stage is removed with its data; all others are protected.',
      });
    }
  }

  private addProxy(network: Network, inside: ec2.SecurityGroup): rds.DatabaseProxy {
    const role = new iam.Role(this, 'ProxyRole', {
      assumedBy: new iam.ServicePrincipal('rds.amazonaws.com'),
      description: 'Lets the proxy log in as the user of its client',
    });
    for (const service of servicesWithDatabase()) {
      this.cluster.grantConnect(role, databaseRole(service));
    }
    const proxy = new rds.DatabaseProxy(this, 'Proxy', {
      role,
      proxyTarget: rds.ProxyTarget.fromCluster(this.cluster),
      vpc: network.vpc,
      vpcSubnets: network.databaseSubnets,
      securityGroups: [inside],
      // The proxy logs in as its client's user through IAM, so that it needs no password.
      defaultAuthScheme: rds.DefaultAuthScheme.IAM_AUTH,
      requireTLS: true,
    });
    inside.addIngressRule(inside, ec2.Port.tcp(PORT), 'The proxy');
    inside.addEgressRule(inside, ec2.Port.tcp(PORT), 'The proxy');
    return proxy;
  }

  /** For the migrations of a service: as the owner, directly to the cluster. */
  forOwner(service: Service): Access {
    const secret = this.cluster.secret;
    if (secret === undefined) throw new Error('the owner of the database has no secret');
    return {
      environment: {
        DATABASE_URL: `postgres://${this.address(this.cluster.clusterEndpoint.hostname)}`,
        VITRINA_DATABASE_SECRET: secret.secretArn,
        VITRINA_DATABASE_APP_USER: databaseRole(service),
        VITRINA_DATABASE_CA: '/opt/rds-ca.pem',
      },
      allow: (role) =>
        role.grantPrincipal.addToPrincipalPolicy(
          new iam.PolicyStatement({
            actions: ['secretsmanager:GetSecretValue'],
            resources: [secret.secretArn],
          }),
        ),
    };
  }

  /** For all other functions: as the role of their service, with an IAM token instead of a password. */
  forService(service: Service): Access {
    const user = databaseRole(service);
    const host = this.proxy?.endpoint ?? this.cluster.clusterEndpoint.hostname;
    return {
      environment: {
        DATABASE_URL: `postgres://${user}@${this.address(host)}`,
        VITRINA_DATABASE_AUTH: 'iam',
        VITRINA_DATABASE_CA: '/opt/rds-ca.pem',
        ...(this.proxy === undefined ? {} : { VITRINA_DATABASE_PROXY: 'true' }),
      },
      allow: (role) => void (this.proxy ?? this.cluster).grantConnect(role, user),
    };
  }

  private address(host: string): string {
    return `${host}:${PORT}/${DATABASE}?sslmode=verify-full`;
  }
}

/** An existing database, used with the emulator. */
export class ExternalDatabase {
  constructor(
    private readonly url: string,
    private readonly ownerSecret: string,
  ) {}

  forOwner(service: Service): Access {
    return {
      environment: {
        DATABASE_URL: this.url,
        VITRINA_DATABASE_SECRET: this.ownerSecret,
        VITRINA_DATABASE_APP_USER: databaseRole(service),
      },
      allow: () => undefined,
    };
  }

  forService(service: Service): Access {
    const url = new URL(this.url);
    url.username = databaseRole(service);
    return { environment: { DATABASE_URL: url.href }, allow: () => undefined };
  }
}
