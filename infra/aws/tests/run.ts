/** Runs programs as from a terminal. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { ROOT } from '../lib/paths';

export const AWS = join(ROOT, 'infra/aws');

export interface RunResult {
  status: number | null;
  out: string;
  err: string;
}

export function run(
  program: string,
  args: string[],
  environment: Record<string, string> = {},
): RunResult {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  return { status, out: stdout, err: stderr };
}
