/** Everything that a stage stands on, on this machine: the emulator, PostgreSQL, and the settings. */
import { spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

import { Shell } from './guide';
import { APP_USER, DATABASE, OWNER, OWNER_PASSWORD, Postgres } from './postgres';
import { RefusingBus } from './refusing_bus';
import { eventually, freePort } from './wait';

export const REGION = 'us-east-1';
const OWNER_SECRET = 'owner-of-the-database';
const AWS = path.join(__dirname, '../../..');

/** Set by `infra/aws/test`. */
function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: infra/aws/test does`);
  return value;
}

export class World {
  private constructor(
    readonly folder: string,
    readonly endpoint: string,
    readonly postgres: Postgres,
    readonly bus: RefusingBus,
    private readonly emulator: ChildProcess,
  ) {}

  static async start(): Promise<World> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrina-aws-'));
    fs.chmodSync(folder, 0o755);
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    const state = path.join(folder, 'emulator');
    fs.mkdirSync(state);
    const database = path.join(folder, 'database');
    fs.mkdirSync(database);
    const emulator = spawn(setting('VITRINA_MINISTACK'), [], {
      cwd: state,
      env: {
        ...process.env,
        ...CREDENTIALS,
        BIND_HOST: '127.0.0.1',
        GATEWAY_PORT: String(port),
        IOT_MTLS_ENABLED: '0',
        TMPDIR: state,
        // The runtimes of AWS bring its SDK along, for what CDK has there.
        NODE_PATH: path.join(AWS, 'node_modules'),
        LOG_LEVEL: 'WARNING',
      },
      stdio: ['ignore', 'inherit', 'inherit'].map((kind) =>
        kind === 'inherit' ? fs.openSync(path.join(folder, 'emulator.log'), 'a') : 'ignore',
      ) as ['ignore', number, number],
    });
    const [postgres] = await Promise.all([
      Postgres.start(database),
      eventually('the emulator answers', 30, () => fetch(`${endpoint}/_ministack/health`)),
    ]);
    const bus = await RefusingBus.start(endpoint);
    const world = new World(folder, endpoint, postgres, bus, emulator);
    await new SecretsManagerClient(world.client).send(
      new CreateSecretCommand({
        Name: OWNER_SECRET,
        SecretString: JSON.stringify({ username: OWNER, password: OWNER_PASSWORD }),
      }),
    );
    return world;
  }

  /** How a client of an SDK reaches the emulator. */
  get client(): object {
    return {
      endpoint: this.endpoint,
      region: REGION,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    };
  }

  /** Writes the settings of a stage, and returns the folder of all. */
  stages(name: string, more: object = {}): void {
    const file = path.join(this.folder, `${name}.json`);
    const settings = {
      artifacts: setting('VITRINA_ARTIFACTS'),
      architecture: 'x86_64',
      emulatorEndpoint: this.endpoint,
      emulatorEventsEndpoint: this.bus.url,
      databaseUrl: `postgres://${APP_USER}@127.0.0.1:${this.postgres.port}/${DATABASE}`,
      databaseOwnerSecret: OWNER_SECRET,
      // The least that the schedule can.
      reconcileMinutes: 1,
      ...more,
    };
    fs.writeFileSync(file, JSON.stringify(settings));
  }

  /** A shell as that of whoever deploys, whose AWS is the emulator. */
  shell(): Shell {
    return new Shell(AWS, {
      ...process.env,
      ...CREDENTIALS,
      PATH: `${path.dirname(setting('VITRINA_AWS_CLI'))}:${process.env['PATH'] ?? ''}`,
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_ENDPOINT_URL_S3: this.endpoint,
      AWS_PAGER: '',
      CDK_DISABLE_VERSION_CHECK: '1',
      CI: 'true',
      VITRINA_STAGES: this.folder,
      REGION,
    });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.emulator.once('exit', resolve));
    this.emulator.kill('SIGTERM');
    await ended;
    this.bus.stop();
    await this.postgres.stop();
    if (process.env['KEEP'] === undefined) fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
  AWS_REGION: REGION,
  AWS_DEFAULT_REGION: REGION,
};
