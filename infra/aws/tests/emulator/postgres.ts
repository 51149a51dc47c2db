/** A private PostgreSQL, set up as on AWS: an owner with a password, a role for each service without. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';

import { databaseRole } from '../../lib/data';
import { servicesWithDatabase } from '../../lib/functions';
import { eventually, freePort } from './wait';

export const OWNER = 'vitrina_owner';
export const OWNER_PASSWORD = 'only-of-this-test';
const SERVICE_ROLES = servicesWithDatabase().map(databaseRole);
export const DATABASE = 'vitrina';

function programs(): string {
  const given = process.env['VITRINA_POSTGRES_BIN'];
  if (given !== undefined) return given;
  const root = '/usr/lib/postgresql';
  const [newest] = fs
    .readdirSync(root)
    .sort((one, other) => Number(other) - Number(one))
    .map((version) => path.join(root, version, 'bin'));
  if (newest === undefined) throw new Error(`no PostgreSQL found in ${root}`);
  return newest;
}

/** PostgreSQL refuses to run as root; Debian's package brings a user for it. */
function userPrefix(): string[] {
  return process.getuid?.() === 0 ? ['runuser', '-u', 'postgres', '--'] : [];
}

export class Postgres {
  private constructor(
    readonly port: number,
    private readonly server: ChildProcess,
  ) {}

  static async start(folder: string): Promise<Postgres> {
    const bin = programs();
    const data = path.join(folder, 'postgres');
    fs.mkdirSync(data);
    const secret = path.join(folder, 'superuser');
    fs.writeFileSync(secret, OWNER_PASSWORD);
    const prefix = userPrefix();
    if (prefix.length > 0) {
      execFileSync('chown', ['-R', 'postgres', folder]);
    }
    const run = (command: string[]): void => {
      const [program, ...rest] = [...prefix, ...command];
      execFileSync(program!, rest, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    };
    const init = ['-D', data, '-U', 'postgres', '--no-sync', '-E', 'UTF8', `--pwfile=${secret}`];
    run([path.join(bin, 'initdb'), ...init, '--auth=scram-sha-256', '--no-locale']);
    // On AWS these roles authenticate through IAM, which has no substitute here.
    const rules = path.join(data, 'pg_hba.conf');
    fs.writeFileSync(
      rules,
      `host all ${SERVICE_ROLES.join(',')} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n`,
    );
    const port = await freePort();
    // The emulator ignores reserved concurrency: it starts a function instance for each concurrent request
    // and keeps it.
    const connections = 'max_connections=400';
    const options = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', '', '-F'];
    options.push('-c', connections);
    const [program, ...rest] = [...prefix, path.join(bin, 'postgres'), ...options];
    const server = spawn(program!, rest, {
      cwd: folder,
      stdio: ['ignore', 'ignore', fs.openSync(path.join(folder, 'postgres.log'), 'a')],
    });
    const postgres = new Postgres(port, server);
    await eventually('PostgreSQL responds', () => {
      postgres.query('select 1', 'postgres', 'postgres');
    });
    // As on Aurora, the owner may create roles but is not a superuser.
    postgres.query(
      `create role ${OWNER} login createrole password '${OWNER_PASSWORD}'`,
      'postgres',
      'postgres',
    );
    postgres.query(`create database ${DATABASE} owner ${OWNER}`, 'postgres', 'postgres');
    return postgres;
  }

  /** Runs a statement and returns a line per row, with columns separated by `|`. */
  query(sql: string, user = OWNER, database = DATABASE): string {
    return execFileSync(
      path.join(programs(), 'psql'),
      ['-h', '127.0.0.1', '-p', String(this.port), '-U', user, '-d', database, '-XAtqc', sql],
      { encoding: 'utf8', stdio: 'pipe', env: { ...process.env, PGPASSWORD: OWNER_PASSWORD } },
    ).trim();
  }

  /** Stops it immediately; no data is kept. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.server.once('exit', resolve));
    const pid = fs.readFileSync(
      `/proc/${this.server.pid}/task/${this.server.pid}/children`,
      'utf8',
    );
    // `runuser` does not forward SIGQUIT.
    const [child] = pid.trim().split(' ').filter(Boolean);
    if (userPrefix().length > 0 && child !== undefined) process.kill(Number(child), 'SIGQUIT');
    else this.server.kill('SIGQUIT');
    await ended;
  }
}
