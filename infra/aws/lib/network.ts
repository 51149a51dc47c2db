/**
 * The network: PostgreSQL in isolated subnets, and the functions that use it in subnets that reach either
 * AWS endpoints only, or the internet through a NAT gateway. Functions that do not use PostgreSQL are
 * outside of this network.
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
  /** The security group of the functions in this network. */
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
    const publicSubnets: ec2.SubnetConfiguration = {
      name: 'public',
      subnetType: ec2.SubnetType.PUBLIC,
      cidrMask: 28,
      mapPublicIpOnLaunch: false,
    };
    // Aurora requires two zones. They share one NAT gateway: an outage of its zone stops writes, but a
    // second gateway would double the cost.
    this.vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr('10.42.0.0/16'),
      maxAzs: 2,
      natGateways: nat ? 1 : 0,
      subnetConfiguration: nat ? [database, functions, publicSubnets] : [database, functions],
      // The restriction would add functions and roles, and no resource uses the default group.
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
    // Gateway endpoints are free, and keep the listings' traffic off the NAT gateway.
    for (const [name, service] of [
      ['DynamoDb', ec2.GatewayVpcEndpointAwsService.DYNAMODB],
      ['S3', ec2.GatewayVpcEndpointAwsService.S3],
    ] as const) {
      this.vpc.addGatewayEndpoint(name, { service, subnets: [this.functionSubnets] });
    }
    if (!nat) this.addInterfaceEndpoints();
  }

  /**
   * An endpoint costs about $7.30 a month and zone, and $0.01/GB; these four in one zone about $29. A NAT
   * gateway costs about $33 a month and $0.045/GB. (us-east-1, November 2026.)
   */
  private addInterfaceEndpoints(): void {
    const services = {
      Events: ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
      Queues: ec2.InterfaceVpcEndpointAwsService.SQS,
      Secrets: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      // For the key set that verifies tokens. Only works for a pool without a domain.
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
        // In one zone: the other zone can reach it, and each further zone costs as much again.
        subnets: { subnets: subnet === undefined ? [] : [subnet] },
        securityGroups: [inside],
        open: false,
      });
    }
  }
}
