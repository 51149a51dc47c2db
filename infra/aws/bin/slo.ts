/**
 * Writes what follows from `infra/slo.yaml` outside of CloudFormation: the rules of Prometheus. With
 * `--check` it only says whether what is there is what would be written.
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
  const wanted = prometheusRules(readObjectives());
  if (!check) {
    writeFileSync(RULES, wanted);
    return 0;
  }
  if (readFileSync(RULES, 'utf8') === wanted) return 0;
  console.error(`${RULES} does not follow from ${OBJECTIVES}: run \`npm run slo\` in infra/aws`);
  return 1;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Faults)) throw error;
  console.error(`${OBJECTIVES} is wrong:\n${error.message}`);
  process.exitCode = 1;
}
