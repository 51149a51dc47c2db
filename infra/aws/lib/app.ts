/** The stacks of a stage. */
import { Tags, type App } from 'aws-cdk-lib';

import { Edge } from './edge';
import { Providers } from './providers';
import { readRouting, type Routing } from './routes';
import { EDGE_REGION, type Settings } from './settings';
import { Stage } from './stage';

export function build(
  app: App,
  settings: Settings,
  routing: Routing = readRouting(),
): { stage: Stage; edge?: Edge } {
  const { account, region } = settings;
  const name = `Vitrina-${settings.stage}`;
  const of = (where: string): { env: { region: string; account?: string } } => ({
    env: { region: where, ...(account === undefined ? {} : { account }) },
  });
  const crossRegionReferences = settings.edge && region !== EDGE_REGION;
  const stage = new Stage(
    app,
    name,
    { ...of(region), crossRegionReferences, description: `Vitrina, stage ${settings.stage}` },
    settings,
    routing,
  );
  if (!settings.edge) return { stage };
  const edge = new Edge(
    app,
    `${name}-edge`,
    {
      ...of(EDGE_REGION),
      crossRegionReferences,
      description: `Edge of Vitrina, stage ${settings.stage}`,
    },
    settings,
    stage.host,
  );
  Providers.attach(edge, settings);
  for (const [tag, value] of [
    ['vitrina:stage', settings.stage],
    ['vitrina:expires', settings.expires],
  ] as const) {
    if (value !== undefined) Tags.of(edge).add(tag, value);
  }
  return { stage, edge };
}
