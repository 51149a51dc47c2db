/** Draws the architecture from the template, so that the diagram shows only deployed resources. */

export interface Resource {
  Type: string;
  Properties: Record<string, any>;
}
export type Resources = Record<string, Resource>;

/** The logical names that a value references. */
function references(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (key === 'Ref' && typeof inner === 'string') return [inner];
    if (key === 'Fn::GetAtt' && Array.isArray(inner)) return [String(inner[0])];
    return references(inner);
  });
}

/** The nodes by resource type and, if a type has several, by logical name. */
const NODES: [type: string, name: RegExp, id: string, shape: string][] = [
  ['AWS::CloudFront::Distribution', /./, 'edge', '["CloudFront and WAF"]'],
  ['AWS::ApiGatewayV2::Api', /./, 'api', '["HTTP API"]'],
  ['AWS::Cognito::UserPool', /./, 'pool', '["Cognito user pool"]'],
  ['AWS::RDS::DBCluster', /./, 'aurora', '[("Aurora PostgreSQL")]'],
  ['AWS::DynamoDB::Table', /./, 'listings', '[("DynamoDB listings")]'],
  ['AWS::Events::EventBus', /./, 'bus', '{{"EventBridge bus"}}'],
  ['AWS::SQS::Queue', /MessagingQueue/, 'queue', '[/"SQS queue"/]'],
  ['AWS::SQS::Queue', /DeadLetters/, 'dead', '[/"SQS dead letters"/]'],
  ['AWS::SQS::Queue', /Again/, 'retry', '[/"SQS retry queue, 1 minute delay"/]'],
  ['AWS::Events::Archive', /./, 'archive', '[("archive")]'],
];

/** Draws `resources` as a Mermaid flow chart. */
export function draw(resources: Resources): string {
  const nodes = new Map<string, string>();
  const lines: string[] = ['flowchart LR'];
  for (const [name, { Type, Properties }] of Object.entries(resources)) {
    const tags = Array.isArray(Properties?.['Tags']) ? Properties['Tags'] : [];
    const tag = tags.find(({ Key }: { Key: string }) => Key === 'vitrina:function')?.Value;
    if (tag !== undefined) {
      nodes.set(name, tag);
      lines.push(`  ${tag}(["${tag}"])`);
    }
    const node = NODES.find(([type, pattern]) => type === Type && pattern.test(name));
    if (node !== undefined) {
      nodes.set(name, node[2]);
      lines.push(`  ${node[2]}${node[3]}`);
    }
  }
  // Aliases, versions and integrations are resolved to the function that they invoke.
  const STEPS: Record<string, string> = {
    'AWS::Lambda::Alias': 'FunctionName',
    'AWS::Lambda::Version': 'FunctionName',
    'AWS::ApiGatewayV2::Integration': 'IntegrationUri',
  };
  const nodesOf = (value: unknown): string[] =>
    references(value).flatMap((name) => {
      const known = nodes.get(name);
      if (known !== undefined) return [known];
      const step = STEPS[resources[name]?.Type ?? ''];
      return step === undefined ? [] : nodesOf(resources[name]!.Properties[step]);
    });
  const edges = new Set<string>();
  const connect = (from: unknown, to: unknown, label = ''): void => {
    for (const source of typeof from === 'string' ? [from] : nodesOf(from)) {
      for (const target of typeof to === 'string' ? [to] : nodesOf(to)) {
        if (source !== target) {
          edges.add(`  ${source} -->${label === '' ? '' : `|"${label}"|`} ${target}`);
        }
      }
    }
  };
  for (const [name, { Type, Properties: of }] of Object.entries(resources)) {
    switch (Type) {
      case 'AWS::CloudFront::Distribution':
        connect('buyers', { Ref: name });
        connect({ Ref: name }, 'api');
        break;
      case 'AWS::ApiGatewayV2::Route':
        connect(
          { Ref: references(of['ApiId'])[0] },
          of['Target'],
          of['AuthorizerId'] ? 'token' : 'public',
        );
        break;
      case 'AWS::ApiGatewayV2::Authorizer':
        connect('api', of['JwtConfiguration']['Issuer'], 'key set');
        break;
      case 'AWS::Lambda::EventSourceMapping':
        connect(of['EventSourceArn'], of['FunctionName']);
        break;
      case 'AWS::Lambda::EventInvokeConfig':
        connect(of['FunctionName'], of['DestinationConfig']?.['OnFailure'], 'on failure');
        break;
      case 'AWS::Events::Rule':
        connect(
          of['EventBusName'],
          (of['Targets'] as any[]).map(({ Arn }) => Arn),
        );
        break;
      case 'AWS::Events::Archive':
        connect(of['SourceArn'], { Ref: name });
        break;
      case 'AWS::SQS::Queue':
        connect({ Ref: name }, of['RedrivePolicy'], 'redrive policy');
        break;
      case 'AWS::Scheduler::Schedule':
        connect('scheduler', of['Target']['Arn'], of['ScheduleExpression']);
        break;
      case 'AWS::Logs::SubscriptionFilter': {
        const first = Object.values(resources).find(
          (resource) =>
            resource.Type === 'AWS::Lambda::Function' &&
            references(resource.Properties['LoggingConfig'])[0] ===
              references(of['LogGroupName'])[0],
        );
        const tag = first?.Properties['Tags']?.find(
          (t: any) => t.Key === 'vitrina:function',
        )?.Value;
        if (tag !== undefined) connect(tag, of['DestinationArn'], 'invocation ended');
        break;
      }
      case 'Custom::Trigger':
        connect('deployment', of['HandlerArn'], 'migrates');
        break;
      case 'AWS::Lambda::Function': {
        const variables = of['Environment']?.['Variables'] ?? {};
        const as = 'VITRINA_DATABASE_SECRET' in variables ? 'owner' : '';
        connect({ Ref: name }, variables['DATABASE_URL'], as);
        connect({ Ref: name }, variables['VITRINA_EVENT_BUS'], 'publishes');
        connect({ Ref: name }, variables['VITRINA_LISTINGS_TABLE']);
        break;
      }
    }
  }
  const outside: [string, string][] = [
    ['buyers', '(("buyers, sellers"))'],
    ['scheduler', '["EventBridge Scheduler"]'],
    ['deployment', '["deployment"]'],
  ];
  for (const [id, shape] of outside) {
    if ([...edges].some((edge) => edge.startsWith(`  ${id} `))) lines.push(`  ${id}${shape}`);
  }
  return [...lines.sort(byKind), ...[...edges].sort()].join('\n');
}

/** The header first, the rest by name, so that the order of resources does not matter. */
function byKind(one: string, other: string): number {
  if (one.startsWith('flowchart')) return -1;
  if (other.startsWith('flowchart')) return 1;
  return one < other ? -1 : 1;
}
