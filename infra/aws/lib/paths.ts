/** Paths of files that this package shares with the rest of the repository. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The root of the checkout, found from the sources and from the compiled files. */
export const ROOT = rootAbove(__dirname);
export const OBJECTIVES = join(ROOT, 'infra/slo.yaml');
export const RULES = join(ROOT, 'infra/local/prometheus/rules.yaml');
export const RUNBOOKS = join(ROOT, 'infra/runbooks');

function rootAbove(folder: string): string {
  if (existsSync(join(folder, 'infra/slo.yaml'))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error('no parent folder contains infra/slo.yaml');
  return rootAbove(above);
}
