/** The CDK app: `npx cdk <command> -c stage=<stage>`. */
import * as path from 'node:path';

import { App, Validations } from 'aws-cdk-lib';

import { build } from '../lib/app';
import { fromCommandLineAndFile, readSettings, SettingsError } from '../lib/settings';
import { rulePacks } from '../lib/rules';

const app = new App();
try {
  const folder = process.env['VITRINA_STAGES'] ?? path.join(__dirname, '../../stages');
  const lookup = fromCommandLineAndFile((name) => app.node.tryGetContext(name) as unknown, folder);
  build(app, readSettings(lookup, process.env, new Date()));
  Validations.of(app).addPlugins(...rulePacks());
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  // A stack trace would hide the message.
  console.error(error.message);
  process.exitCode = 1;
}
