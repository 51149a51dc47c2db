/**
 * The settings of a stage. All invalid settings are reported together, before anything is deployed.
 *
 * A setting comes from `-c name=value` on the command line, otherwise from `stages/<stage>.json` (for a
 * feature branch from `stages/ephemeral.json`), otherwise it has the default given here.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';

/** The region in which CloudFront requires its firewall and certificate. */
export const EDGE_REGION = 'us-east-1';

export type Architecture = 'arm64' | 'x86_64';
export type Egress = 'nat' | 'endpoints';

/** The PostgreSQL of a stage. */
export type Database =
  | {
      kind: 'aurora';
      /** In Aurora capacity units; at 0 the database sleeps when there are no connections. */
      minCapacity: number;
      maxCapacity: number;
      /** Additional instances as failover targets. */
      readers: number;
      /** RDS Proxy between the functions and the cluster. */
      proxy: boolean;
      backupDays: number;
    }
  /** An existing database, for the emulator. Its URL must not contain a password. */
  | { kind: 'external'; url: string; ownerSecret: string; minCapacity: number };

export interface Domain {
  name: string;
  hostedZoneId: string;
  zoneName: string;
}

/** The endpoints of an emulator. */
export interface Emulator {
  endpoint: string;
  /** The bus endpoint, so that a test can intercept and refuse events. */
  eventsEndpoint: string;
}

export interface Settings {
  stage: string;
  account?: string;
  region: string;
  /** The folder with `<service>/bootstrap`. */
  artifacts: string;
  architecture: Architecture;
  egress: Egress;
  database: Database;
  /** CloudFront and WAF in front of the API. */
  edge: boolean;
  domain?: Domain;
  /** Maximum requests of one address in five minutes, at the edge. */
  addressLimit: number;
  /** Maximum requests a second, at the API. */
  requestRate: number;
  /** Maximum concurrent invocations of each HTTP function. */
  apiConcurrency: number;
  /** Minutes between reconciliation runs. Each run compares one slice; sixteen slices are a full pass. */
  reconcileMinutes: number;
  /** Allowed CORS origins. */
  origins: string[];
  /** Default currency, ISO 4217. */
  currency: string;
  /** Set for ephemeral stages: the reaper removes the stage and its data after this time (RFC 3339). */
  expires?: string;
  alarmEmail?: string;
  /** The deployed commit. Makes a full deployment after a code-only one always differ. */
  revision?: string;
  /** The collector of spans (OTLP over HTTP). */
  tracesEndpoint?: string;
  emulator?: Emulator;
}

/** Whether the stage's resources are removed with it. */
export function isEphemeral(settings: Settings): boolean {
  return settings.expires !== undefined;
}

/** Whether the database may sleep, so that nothing may connect to it while idle. */
export function sleeps(settings: Settings): boolean {
  return settings.database.minCapacity === 0;
}

export class SettingsError extends Error {
  constructor(readonly faults: string[]) {
    super(`invalid settings:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.name = 'SettingsError';
  }
}

export const SERVICES = ['inventory', 'catalog', 'sync'] as const;
export type Service = (typeof SERVICES)[number];

type Value = string | number | boolean | string[];
/** Finds a value by the name of its setting. */
export type Lookup = (name: string) => unknown;

const NAMES = new Set(
  [
    'stage account region artifacts architecture egress database edge domain hostedZoneId zoneName',
    'databaseMinCapacity databaseMaxCapacity databaseReaders databaseProxy databaseBackupDays',
    'databaseUrl databaseOwnerSecret addressLimit requestRate apiConcurrency origins currency',
    'ephemeral expires reconcileMinutes alarmEmail revision tracesEndpoint emulatorEndpoint emulatorEventsEndpoint',
  ].flatMap((line) => line.split(' ')),
);

/** Reads values and collects the faults. */
class Reader {
  readonly faults: string[] = [];

  constructor(private readonly lookup: Lookup) {}

  text(name: string, pattern: RegExp, meaning: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && pattern.test(value)) return value;
    this.faults.push(`${name}: must be ${meaning}, not ${JSON.stringify(value)}`);
    return undefined;
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const value = this.raw(name) ?? fallback;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    this.faults.push(`${name}: must be ${choices.join(' or ')}, not ${JSON.stringify(value)}`);
    return fallback;
  }

  number(name: string, fallback: number, from: number, to: number, step = 1): number {
    const value = this.raw(name) ?? fallback;
    const number = typeof value === 'string' && value !== '' ? Number(value) : value;
    if (typeof number === 'number' && number >= from && number <= to && number % step === 0) {
      return number;
    }
    const steps = step === 1 ? '' : ` in steps of ${step}`;
    this.faults.push(`${name}: must be ${from} to ${to}${steps}, not ${JSON.stringify(value)}`);
    return fallback;
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    this.faults.push(`${name}: must be true or false, not ${JSON.stringify(value)}`);
    return fallback;
  }

  list(name: string): string[] {
    const value = this.raw(name) ?? [];
    if (typeof value === 'string') return value.split(',').filter((part) => part !== '');
    if (Array.isArray(value) && value.every((part) => typeof part === 'string')) return value;
    this.faults.push(`${name}: must be a list of strings, not ${JSON.stringify(value)}`);
    return [];
  }

  private raw(name: string): Value | undefined {
    return this.lookup(name) as Value | undefined;
  }
}

const URL_PATTERN = /^https?:\/\/[^\s/]+(\/\S*)?$/;

/**
 * Reads the settings of a stage.
 *
 * @param environment `CDK_DEFAULT_ACCOUNT` and `CDK_DEFAULT_REGION`, as the command line sets them, and
 *   `VITRINA_REVISION`.
 * @throws SettingsError that names every fault.
 */
export function readSettings(
  lookup: Lookup,
  environment: Record<string, string | undefined>,
  now: Date,
): Settings {
  const read = new Reader(lookup);
  const { faults } = read;
  const stage = read.text(
    'stage',
    /^[a-z][a-z0-9-]{0,29}$/,
    'up to 30 characters of a-z, 0-9 and -',
  );
  if (stage === undefined && faults.length === 0) faults.push('stage: is required (-c stage=..)');
  const account =
    read.text('account', /^\d{12}$/, 'an account id of 12 digits') ??
    environment['CDK_DEFAULT_ACCOUNT'];
  const region =
    read.text('region', /^[a-z]{2}(-[a-z]+)+-\d$/, 'a region') ??
    environment['CDK_DEFAULT_REGION'] ??
    'us-east-1';
  const artifacts = path.resolve(String(lookup('artifacts') ?? 'artifacts'));
  for (const service of SERVICES) {
    const file = path.join(artifacts, service, 'bootstrap');
    if (!fs.existsSync(file)) faults.push(`artifacts: ${file} does not exist (infra/aws/build)`);
  }
  const architecture = read.choice('architecture', ['arm64', 'x86_64'] as const, 'arm64');
  const egress = read.choice('egress', ['nat', 'endpoints'] as const, 'nat');
  const expires = read.text(
    'expires',
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
    'RFC 3339 in UTC',
  );
  if (expires !== undefined && !(Date.parse(expires) > now.getTime())) {
    faults.push(`expires: ${expires} is in the past`);
  }
  const ephemeral = read.flag('ephemeral', expires !== undefined);
  if (ephemeral !== (expires !== undefined)) {
    faults.push('expires: must be set if and only if ephemeral=true');
  }
  const edge = read.flag('edge', false);
  if (edge && ephemeral && region !== EDGE_REGION) {
    // CDK's functions for cross-region values write to log groups outside of the stage.
    faults.push(`edge: an ephemeral stage outside ${EDGE_REGION} would leave log groups behind`);
  }
  const settings: Settings = {
    stage: stage ?? '',
    region,
    artifacts,
    architecture,
    egress,
    database: readDatabase(read),
    edge,
    addressLimit: read.number('addressLimit', 2_000, 10, 2_000_000_000),
    requestRate: read.number('requestRate', 500, 1, 10_000),
    apiConcurrency: read.number('apiConcurrency', 20, 2, 500),
    reconcileMinutes: read.number('reconcileMinutes', 5, 1, 10),
    origins: read.list('origins'),
    currency: read.text('currency', /^[A-Z]{3}$/, 'an ISO 4217 currency') ?? 'BRL',
  };
  if (account !== undefined) settings.account = account;
  if (expires !== undefined) settings.expires = expires;
  const alarmEmail = read.text('alarmEmail', /^[^\s@]+@[^\s@]+$/, 'an email address');
  if (alarmEmail !== undefined) settings.alarmEmail = alarmEmail;
  const revision = read.text('revision', /^[0-9A-Za-z._-]{1,64}$/, 'the name of a commit');
  const deployed = revision ?? environment['VITRINA_REVISION'];
  if (deployed !== undefined) settings.revision = deployed;
  const traces = read.text('tracesEndpoint', URL_PATTERN, 'an HTTP address');
  if (traces !== undefined) settings.tracesEndpoint = traces;
  readDomain(read, settings);
  readEmulator(read, settings);
  if (faults.length > 0) throw new SettingsError(faults);
  return settings;
}

function readDatabase(read: Reader): Database {
  const minCapacity = read.number('databaseMinCapacity', 0.5, 0, 256, 0.5);
  const url = read.text('databaseUrl', /^postgres(ql)?:\/\/\S+$/, 'postgres://host:port/name');
  const ownerSecret = read.text('databaseOwnerSecret', /^\S+$/, 'the name of a secret');
  if (url !== undefined) {
    // Each service logs in as its own role, and every user with read access to the stack can read the
    // template.
    const { username, password } = new URL(url);
    if (username !== '') read.faults.push('databaseUrl: must not contain a user');
    if (password !== '') read.faults.push('databaseUrl: must not contain a password');
    if (ownerSecret === undefined)
      read.faults.push('databaseOwnerSecret: is required with databaseUrl');
    return { kind: 'external', url, ownerSecret: ownerSecret ?? '', minCapacity };
  }
  const maxCapacity = read.number('databaseMaxCapacity', 8, 1, 256, 0.5);
  const proxy = read.flag('databaseProxy', false);
  if (maxCapacity < minCapacity) {
    read.faults.push('databaseMaxCapacity: must not be below databaseMinCapacity');
  }
  if (proxy && minCapacity === 0) {
    // The proxy keeps connections open, and a database with open connections does not sleep.
    read.faults.push('databaseProxy: would keep the database awake (databaseMinCapacity is 0)');
  }
  const readers = read.number('databaseReaders', 0, 0, 15);
  const backupDays = read.number('databaseBackupDays', 14, 1, 35);
  return { kind: 'aurora', minCapacity, maxCapacity, readers, proxy, backupDays };
}

function readDomain(read: Reader, settings: Settings): void {
  const host = /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$/;
  const name = read.text('domain', host, 'a domain name');
  const hostedZoneId = read.text('hostedZoneId', /^Z[A-Z0-9]+$/, 'the id of a hosted zone');
  const zoneName = read.text('zoneName', host, 'the name of the hosted zone');
  if (name === undefined && hostedZoneId === undefined && zoneName === undefined) return;
  if (name === undefined || hostedZoneId === undefined || zoneName === undefined) {
    read.faults.push('domain: domain, hostedZoneId and zoneName must be set together');
    return;
  }
  if (!settings.edge) read.faults.push('domain: requires edge=true');
  if (name !== zoneName && !name.endsWith(`.${zoneName}`)) {
    read.faults.push(`domain: ${name} is not in the zone ${zoneName}`);
  }
  settings.domain = { name, hostedZoneId, zoneName };
}

function readEmulator(read: Reader, settings: Settings): void {
  const endpoint = read.text('emulatorEndpoint', URL_PATTERN, 'an HTTP address');
  const events = read.text('emulatorEventsEndpoint', URL_PATTERN, 'an HTTP address');
  if (endpoint === undefined) {
    if (settings.database.kind === 'external') {
      read.faults.push('databaseUrl: requires emulatorEndpoint');
    }
    return;
  }
  if (settings.database.kind === 'aurora')
    read.faults.push('databaseUrl: is required with emulatorEndpoint, which has no Aurora');
  if (settings.edge) read.faults.push('edge: is not supported by the emulator');
  settings.emulator = { endpoint, eventsEndpoint: events ?? endpoint };
}

/**
 * Looks up settings on the command line first, then in the stage's file. An unknown name in the file is an
 * error: a misspelt setting would otherwise silently have its default.
 */
export function fromCommandLineAndFile(context: Lookup, folder: string): Lookup {
  const stage = context('stage');
  const wantsEphemeral = String(context('ephemeral')) === 'true';
  const named = path.join(folder, `${String(stage)}.json`);
  const file =
    fs.existsSync(named) || !wantsEphemeral ? named : path.join(folder, 'ephemeral.json');
  let values: Record<string, unknown> = {};
  if (fs.existsSync(file)) {
    values = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
    const unknown = Object.keys(values).filter((name) => !NAMES.has(name));
    if (unknown.length > 0) {
      throw new SettingsError(unknown.map((name) => `${name}: unknown setting (${file})`));
    }
  }
  return (name) => context(name) ?? values[name];
}
