/**
 * Writes the Prometheus rules, generated from `infra/slo.yaml`. With `--check` it only reports whether the
 * file is up to date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { OBJECTIVES, RULES } from '../lib/paths';
import { Faults } from '../lib/reader';
import { readObjectives } from '../lib/objectives';
import { prometheusRules } from '../lib/prometheus';

function main(args: readonly string[]): number {
  const check = args[0] === '--check';
  if (args.length > (check ? 1 : 0)) {
    console.error('usage: slo [--check]');
    return 2;
  }
  const expected = prometheusRules(readObjectives());
  if (!check) {
    writeFileSync(RULES, expected);
    return 0;
  }
  if (readFileSync(RULES, 'utf8') === expected) return 0;
  console.error(`${RULES} is out of date with ${OBJECTIVES}: run \`npm run slo\` in infra/aws`);
  return 1;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Faults)) throw error;
  console.error(`${OBJECTIVES} is invalid:\n${error.message}`);
  process.exitCode = 1;
}
