/** The dependencies of a stage on this machine: the emulator, PostgreSQL, and the settings. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

import { Shell } from './guide';
import { CREDENTIALS, Ministack, REGION } from './ministack';
import { DATABASE, OWNER, OWNER_PASSWORD, Postgres } from './postgres';
import { RefusingBus } from './refusing_bus';

const OWNER_SECRET = 'owner-of-the-database';
const AWS = path.join(__dirname, '../../..');

/** Set by `infra/aws/test`. */
function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; infra/aws/test sets it`);
  return value;
}

export class TestBed {
  private constructor(
    readonly folder: string,
    readonly postgres: Postgres,
    readonly bus: RefusingBus,
    private readonly emulator: Ministack,
  ) {}

  static async start(): Promise<TestBed> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrina-aws-'));
    fs.chmodSync(folder, 0o755);
    const database = path.join(folder, 'database');
    fs.mkdirSync(database);
    const [postgres, emulator] = await Promise.all([
      Postgres.start(database),
      Ministack.start(setting('VITRINA_MINISTACK'), path.join(folder, 'emulator'), {
        // AWS's Node.js runtime includes the SDK, which CDK's functions use.
        NODE_PATH: path.join(AWS, 'node_modules'),
      }),
    ]);
    const bus = await RefusingBus.start(emulator.endpoint);
    const bed = new TestBed(folder, postgres, bus, emulator);
    await new SecretsManagerClient(bed.client).send(
      new CreateSecretCommand({
        Name: OWNER_SECRET,
        SecretString: JSON.stringify({ username: OWNER, password: OWNER_PASSWORD }),
      }),
    );
    return bed;
  }

  get endpoint(): string {
    return this.emulator.endpoint;
  }

  /** SDK client settings for the emulator. */
  get client(): object {
    return {
      endpoint: this.endpoint,
      region: REGION,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    };
  }

  /** Writes the settings file of a stage. */
  writeStage(name: string, more: object = {}): void {
    const file = path.join(this.folder, `${name}.json`);
    const settings = {
      artifacts: setting('VITRINA_ARTIFACTS'),
      architecture: 'x86_64',
      emulatorEndpoint: this.endpoint,
      emulatorEventsEndpoint: this.bus.url,
      databaseUrl: `postgres://127.0.0.1:${this.postgres.port}/${DATABASE}`,
      databaseOwnerSecret: OWNER_SECRET,
      // The shortest supported interval.
      reconcileMinutes: 1,
      ...more,
    };
    fs.writeFileSync(file, JSON.stringify(settings));
  }

  /** A shell for deployments, with the emulator as AWS. */
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
    await this.emulator.stop();
    this.bus.stop();
    await this.postgres.stop();
    if (process.env['KEEP'] === undefined) fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
