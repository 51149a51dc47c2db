/** The AWS emulator: a process with its own port and folder. */
import { spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';

import { eventually, freePort } from './wait';

export const REGION = 'us-east-1';

/** The emulator requires credentials but does not check them. */
export const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
  AWS_REGION: REGION,
  AWS_DEFAULT_REGION: REGION,
};

export class Ministack {
  private constructor(
    readonly endpoint: string,
    private readonly process: ChildProcess,
  ) {}

  /** Starts `program` with its data in `folder` and its log next to it. */
  static async start(
    program: string,
    folder: string,
    environment: Record<string, string> = {},
  ): Promise<Ministack> {
    fs.mkdirSync(folder);
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    const log = fs.openSync(path.join(path.dirname(folder), 'emulator.log'), 'a');
    const started = spawn(program, [], {
      cwd: folder,
      env: {
        ...process.env,
        ...CREDENTIALS,
        BIND_HOST: '127.0.0.1',
        GATEWAY_PORT: String(port),
        IOT_MTLS_ENABLED: '0',
        TMPDIR: folder,
        LOG_LEVEL: 'WARNING',
        ...environment,
      },
      stdio: ['ignore', log, log],
    });
    const emulator = new Ministack(endpoint, started);
    try {
      await eventually('the emulator responds', () => fetch(`${endpoint}/_ministack/health`));
    } catch (error) {
      await emulator.stop();
      throw error;
    }
    return emulator;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
  }
}
