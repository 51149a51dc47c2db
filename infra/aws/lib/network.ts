/**
 * The network: PostgreSQL in subnets that lead nowhere, and the functions that use it in subnets
 * that lead to AWS alone, or to the internet through a NAT gateway. Functions that do not use it
 * are not in here at all.
 */
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as logs from 'aws-cdk-lib/aws-logs';
import { RemovalPolicy } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import { isEphemeral, type Settings } from './settings';

export class Network extends Construct {
  readonly vpc: ec2.Vpc;
  readonly functionSubnets: ec2.SubnetSelection;
  readonly databaseSubnets: ec2.SubnetSelection;
  /** What the functions in here go out as. */
  readonly functions: ec2.SecurityGroup;

  constructor(scope: Construct, id: string, settings: Settings) {
    super(scope, id);
    const nat = settings.egress === 'nat';
    const database: ec2.SubnetConfiguration = {
      name: 'database',
      subnetType: ec2.SubnetType.PRIVATE_ISOLATED,
      cidrMask: 24,
    };
    const functions: ec2.SubnetConfiguration = {
      name: 'functions',
      subnetType: nat ? ec2.SubnetType.PRIVATE_WITH_EGRESS : ec2.SubnetType.PRIVATE_ISOLATED,
      cidrMask: 22,
    };
    const door: ec2.SubnetConfiguration = {
      name: 'public',
      subnetType: ec2.SubnetType.PUBLIC,
      cidrMask: 28,
      mapPublicIpOnLaunch: false,
    };
    // Aurora wants two zones. A zone without its own NAT gateway uses that of the other one: when
    // that zone is away, writes are, and a second one would cost as much again.
    this.vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr('10.42.0.0/16'),
      maxAzs: 2,
      natGateways: nat ? 1 : 0,
      subnetConfiguration: nat ? [database, functions, door] : [database, functions],
      // Its functions and their roles would only be there to empty a group that nothing is in.
      restrictDefaultSecurityGroup: false,
    });
    this.functionSubnets = { subnetGroupName: functions.name };
    this.databaseSubnets = { subnetGroupName: database.name };
    this.vpc.addFlowLog('Refused', {
      trafficType: ec2.FlowLogTrafficType.REJECT,
      destination: ec2.FlowLogDestination.toCloudWatchLogs(
        new logs.LogGroup(this, 'RefusedTraffic', {
          retention: logs.RetentionDays.TWO_WEEKS,
          removalPolicy: isEphemeral(settings) ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
        }),
      ),
    });
    this.functions = new ec2.SecurityGroup(this, 'Functions', {
      vpc: this.vpc,
      description: 'Functions that use PostgreSQL',
      allowAllOutbound: false,
    });
    this.functions.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'AWS and the key set');
    if (settings.tracesEndpoint !== undefined) {
      const { port } = new URL(settings.tracesEndpoint);
      if (port !== '') {
        this.functions.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(Number(port)), 'Traces');
      }
    }
    // These two cost nothing, and take the traffic of the listings off the NAT gateway.
    for (const [name, service] of [
      ['DynamoDb', ec2.GatewayVpcEndpointAwsService.DYNAMODB],
      ['S3', ec2.GatewayVpcEndpointAwsService.S3],
    ] as const) {
      this.vpc.addGatewayEndpoint(name, { service, subnets: [this.functionSubnets] });
    }
    if (!nat) this.addInterfaceEndpoints();
  }

  /**
   * Each about $7.30 a month and zone, $0.01/GB; these four in one zone about $29. A NAT gateway is
   * about $33 a month and $0.045/GB, for whatever is asked through it. (us-east-1, November 2026.)
   */
  private addInterfaceEndpoints(): void {
    const services = {
      Events: ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
      Queues: ec2.InterfaceVpcEndpointAwsService.SQS,
      Secrets: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      // The key set, with which tokens are verified. It works only for a pool without a domain.
      Identity: ec2.InterfaceVpcEndpointAwsService.COGNITO_IDP,
    };
    const inside = new ec2.SecurityGroup(this, 'Endpoints', {
      vpc: this.vpc,
      description: 'Interface endpoints of AWS',
      allowAllOutbound: false,
    });
    inside.addIngressRule(this.functions, ec2.Port.tcp(443), 'Functions');
    const [subnet] = this.vpc.selectSubnets(this.functionSubnets).subnets;
    for (const [name, service] of Object.entries(services)) {
      this.vpc.addInterfaceEndpoint(name, {
        service,
        // One zone: the others reach it there, and each further one costs as much again.
        subnets: { subnets: subnet === undefined ? [] : [subnet] },
        securityGroups: [inside],
        open: false,
      });
    }
  }
}
