/**
 * What a stage is. Read once; whatever is wrong is said at once, and nothing is deployed.
 *
 * A setting comes from `-c name=value` on the command line, else from `stages/<stage>.json`, for a
 * stage of a feature branch from `stages/ephemeral.json`, else it has the default given here.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';

/** Where CloudFront wants its firewall and its certificate to be. */
export const EDGE_REGION = 'us-east-1';

export type Architecture = 'arm64' | 'x86_64';
export type Egress = 'nat' | 'endpoints';

/** PostgreSQL as this stage has it. */
export type Database =
  | {
      kind: 'aurora';
      /** In Aurora capacity units; at 0 it goes to sleep when nobody is connected. */
      minCapacity: number;
      maxCapacity: number;
      /** Further instances that take over when the writer fails. */
      readers: number;
      /** RDS Proxy between the functions and the cluster. */
      proxy: boolean;
      backupDays: number;
    }
  /** One that is there already, without a password in its address: the emulator's. */
  | { kind: 'external'; url: string; ownerSecret: string; minCapacity: number };

export interface Domain {
  name: string;
  hostedZoneId: string;
  zoneName: string;
}

/** Where the functions find AWS when it is not AWS. */
export interface Emulator {
  endpoint: string;
  /** For the bus alone: a test stands in between, and refuses events. */
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
  /** CloudFront and WAF before the API. */
  edge: boolean;
  domain?: Domain;
  /** The most requests of one address in five minutes, at the edge. */
  addressLimit: number;
  /** Requests a second that the API takes. */
  requestRate: number;
  /** Invocations of each HTTP function that may run at once. */
  apiConcurrency: number;
  /** How often a slice of the two stores is compared: sixteen slices are all of them. */
  reconcileMinutes: number;
  /** Origins that browsers may call from. */
  origins: string[];
  /** ISO 4217; what prices are in unless said. */
  currency: string;
  /** Everything goes with the stage, and a reaper takes it after this moment (RFC 3339). */
  expires?: string;
  alarmEmail?: string;
  /** The commit that is deployed. A full deployment after one of code alone differs by it. */
  revision?: string;
  /** Where spans go (OTLP over HTTP). */
  tracesEndpoint?: string;
  emulator?: Emulator;
}

/** Nothing of it outlives the stage. */
export function isEphemeral(settings: Settings): boolean {
  return settings.expires !== undefined;
}

/** Its database goes to sleep, so nothing may knock at it while there is nothing to do. */
export function sleeps(settings: Settings): boolean {
  return settings.database.minCapacity === 0;
}

export class SettingsError extends Error {
  constructor(readonly faults: string[]) {
    super(`the settings are wrong:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.name = 'SettingsError';
  }
}

export const SERVICES = ['inventory', 'catalog', 'sync'] as const;
export type Service = (typeof SERVICES)[number];

type Value = string | number | boolean | string[];
/** How a value is found: by the name of its setting. */
export type Lookup = (name: string) => unknown;

const NAMES = new Set(
  [
    'stage account region artifacts architecture egress database edge domain hostedZoneId zoneName',
    'databaseMinCapacity databaseMaxCapacity databaseReaders databaseProxy databaseBackupDays',
    'databaseUrl databaseOwnerSecret addressLimit requestRate apiConcurrency origins currency',
    'ephemeral expires reconcileMinutes alarmEmail revision tracesEndpoint emulatorEndpoint emulatorEventsEndpoint',
  ].flatMap((line) => line.split(' ')),
);

/** Reads values, and remembers what was wrong with each. */
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

  choice<T extends string>(name: string, choices: readonly T[], otherwise: T): T {
    const value = this.raw(name) ?? otherwise;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    this.faults.push(`${name}: must be ${choices.join(' or ')}, not ${JSON.stringify(value)}`);
    return otherwise;
  }

  number(name: string, otherwise: number, from: number, to: number, step = 1): number {
    const value = this.raw(name) ?? otherwise;
    const number = typeof value === 'string' && value !== '' ? Number(value) : value;
    if (typeof number === 'number' && number >= from && number <= to && number % step === 0) {
      return number;
    }
    const steps = step === 1 ? '' : ` in steps of ${step}`;
    this.faults.push(`${name}: must be ${from} to ${to}${steps}, not ${JSON.stringify(value)}`);
    return otherwise;
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.raw(name) ?? otherwise;
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    this.faults.push(`${name}: must be true or false, not ${JSON.stringify(value)}`);
    return otherwise;
  }

  list(name: string): string[] {
    const value = this.raw(name) ?? [];
    if (typeof value === 'string') return value.split(',').filter((part) => part !== '');
    if (Array.isArray(value) && value.every((part) => typeof part === 'string')) return value;
    this.faults.push(`${name}: must be a list of texts, not ${JSON.stringify(value)}`);
    return [];
  }

  private raw(name: string): Value | undefined {
    return this.lookup(name) as Value | undefined;
  }
}

const URL_PATTERN = /^https?:\/\/[^\s/]+(\/\S*)?$/;

/**
 * The settings of a stage.
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
  const stage = read.text('stage', /^[a-z][a-z0-9-]{0,29}$/, 'up to 30 of a-z, 0-9 and -');
  if (stage === undefined && faults.length === 0) faults.push('stage: is missing (-c stage=..)');
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
    if (!fs.existsSync(file)) faults.push(`artifacts: ${file} is not there (infra/aws/build)`);
  }
  const architecture = read.choice('architecture', ['arm64', 'x86_64'] as const, 'arm64');
  const egress = read.choice('egress', ['nat', 'endpoints'] as const, 'nat');
  const expires = read.text(
    'expires',
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
    'RFC 3339 in UTC',
  );
  if (expires !== undefined && !(Date.parse(expires) > now.getTime())) {
    faults.push(`expires: ${expires} is past`);
  }
  const ephemeral = read.flag('ephemeral', expires !== undefined);
  if (ephemeral !== (expires !== undefined)) {
    faults.push('expires: goes with ephemeral=true, and ephemeral=true with it');
  }
  const edge = read.flag('edge', false);
  if (edge && ephemeral && region !== EDGE_REGION) {
    // What CDK carries values from region to region with writes into log groups of its own.
    faults.push(`edge: leaves something behind of an ephemeral stage outside ${EDGE_REGION}`);
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
    currency: read.text('currency', /^[A-Z]{3}$/, 'a currency of ISO 4217') ?? 'BRL',
  };
  if (account !== undefined) settings.account = account;
  if (expires !== undefined) settings.expires = expires;
  const alarmEmail = read.text('alarmEmail', /^[^\s@]+@[^\s@]+$/, 'a mail address');
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
  const url = read.text('databaseUrl', /^postgres(ql)?:\/\/\S+$/, 'postgres://user@host:port/name');
  const ownerSecret = read.text('databaseOwnerSecret', /^\S+$/, 'the name of a secret');
  if (url !== undefined) {
    // A template can be read by whoever may look at the stack.
    if (new URL(url).password !== '') read.faults.push('databaseUrl: must not have a password');
    if (ownerSecret === undefined) read.faults.push('databaseOwnerSecret: goes with databaseUrl');
    return { kind: 'external', url, ownerSecret: ownerSecret ?? '', minCapacity };
  }
  const maxCapacity = read.number('databaseMaxCapacity', 8, 1, 256, 0.5);
  const proxy = read.flag('databaseProxy', false);
  if (maxCapacity < minCapacity) {
    read.faults.push('databaseMaxCapacity: must not be below databaseMinCapacity');
  }
  if (proxy && minCapacity === 0) {
    // It keeps connections open, and who has one open does not sleep.
    read.faults.push(
      'databaseProxy: keeps a database awake that may sleep (databaseMinCapacity 0)',
    );
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
    read.faults.push('domain: domain, hostedZoneId and zoneName go together');
    return;
  }
  if (!settings.edge) read.faults.push('domain: needs the edge (edge=true)');
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
      read.faults.push('databaseUrl: is for the emulator (emulatorEndpoint)');
    }
    return;
  }
  if (settings.database.kind === 'aurora')
    read.faults.push('databaseUrl: the emulator has no Aurora');
  if (settings.edge) read.faults.push('edge: the emulator has none');
  settings.emulator = { endpoint, eventsEndpoint: events ?? endpoint };
}

/**
 * Looks at the command line first, then at the file of the stage. A name in the file that is no
 * setting is a typing error, which would otherwise be a default.
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
      throw new SettingsError(unknown.map((name) => `${name}: is no setting (${file})`));
    }
  }
  return (name) => context(name) ?? values[name];
}
