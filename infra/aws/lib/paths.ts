/** Where the files lie that this folder shares with the rest of the house. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The root of the checkout, from the sources as from what was compiled of them. */
export const ROOT = rootAbove(__dirname);
export const OBJECTIVES = join(ROOT, 'infra/slo.yaml');
export const RULES = join(ROOT, 'infra/local/prometheus/rules.yaml');
export const RUNBOOKS = join(ROOT, 'infra/runbooks');

function rootAbove(folder: string): string {
  if (existsSync(join(folder, 'infra/slo.yaml'))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error('infra/slo.yaml is in no folder above this one');
  return rootAbove(above);
}
