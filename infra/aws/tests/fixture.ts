/** Synthesises stages as they would be deployed, with placeholder binaries. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';

import { build } from '../lib/app';
import { readRouting, type Routing } from '../lib/routes';
import { fromCommandLineAndFile, readSettings, SERVICES, type Settings } from '../lib/settings';

/** The repository root, relative to `infra/aws/dist/tests`. */
export const ROOT = path.join(__dirname, '../../../..');
export const STAGES = path.join(ROOT, 'infra/aws/stages');
export const NOW = new Date('2026-11-22T12:00:00Z');
export const EXPIRES = '2026-11-29T12:00:00Z';

/** A folder with the layout of `infra/aws/build`. */
export const ARTIFACTS = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrina-artifacts-'));
for (const service of SERVICES) {
  fs.mkdirSync(path.join(ARTIFACTS, service));
  fs.writeFileSync(path.join(ARTIFACTS, service, 'bootstrap'), service, { mode: 0o755 });
}
process.once('exit', () => fs.rmSync(ARTIFACTS, { recursive: true, force: true }));

export type Context = Record<string, unknown>;

export const PRODUCTION: Context = { stage: 'production' };
export const EPHEMERAL: Context = { stage: 'branch-42', ephemeral: 'true', expires: EXPIRES };
export const EMULATOR: Context = {
  stage: 'emulator',
  emulatorEndpoint: 'http://127.0.0.1:4566',
  databaseUrl: 'postgres://127.0.0.1:5432/vitrina',
  databaseOwnerSecret: 'owner',
};

export function settings(given: Context): Settings {
  const all: Context = {
    artifacts: ARTIFACTS,
    account: '111122223333',
    region: 'eu-central-1',
    ...given,
  };
  const lookup = fromCommandLineAndFile((name) => all[name], STAGES);
  return readSettings(lookup, {}, NOW);
}

export interface Resource {
  Type: string;
  Properties: Record<string, any>;
  DeletionPolicy?: string;
  UpdateReplacePolicy?: string;
  DependsOn?: string[] | string;
}

export interface Synthesised {
  template: Template;
  edge?: Template;
  /** The resources of all stacks by logical name. */
  resources: Record<string, Resource>;
  json: Record<string, unknown>;
}

const synthesised = new Map<string, Synthesised>();

/** Synthesises the stacks of a stage, once per process. */
export function synthesise(given: Context, routing: Routing = readRouting()): Synthesised {
  const key = JSON.stringify([given, routing]);
  const known = synthesised.get(key);
  if (known !== undefined) return known;
  const app = new App({ context: CONTEXT });
  const { stage, edge } = build(app, settings(given), routing);
  const template = Template.fromStack(stage);
  const json = template.toJSON();
  const resources = { ...(json['Resources'] as Record<string, Resource>) };
  const created: Synthesised = { template, resources, json };
  if (edge !== undefined) {
    created.edge = Template.fromStack(edge);
    Object.assign(resources, created.edge.toJSON()['Resources']);
  }
  synthesised.set(key, created);
  return created;
}

/** The context of `cdk.json`. */
export const CONTEXT = (
  JSON.parse(fs.readFileSync(path.join(ROOT, 'infra/aws/cdk.json'), 'utf8')) as {
    context: Record<string, unknown>;
  }
).context;

export function ofType(resources: Record<string, Resource>, type: string): [string, Resource][] {
  return Object.entries(resources).filter(([, resource]) => resource.Type === type);
}

/** The service functions by name. */
export function functions(resources: Record<string, Resource>): Record<string, Resource> {
  return Object.fromEntries(
    ofType(resources, 'AWS::Lambda::Function').flatMap(([, resource]) => {
      const tags = (resource.Properties['Tags'] ?? []) as { Key: string; Value: string }[];
      const tag = tags.find(({ Key }) => Key === 'vitrina:function');
      return tag === undefined ? [] : [[tag.Value, resource]];
    }),
  );
}
