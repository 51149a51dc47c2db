/** The functions. Each one is a process role of a service's binary. */
import type { Service } from './settings';

export interface FunctionPlan {
  service: Service;
  processRole: string;
  /** In MiB; the share of a processor grows with it. */
  memory: number;
  /** In seconds. */
  timeout: number;
  /**
   * The maximum number of concurrent invocations. It is also reserved, so that no function exhausts the
   * concurrency of another. `api` stands for the stage's setting.
   */
  concurrency: number | 'api';
  /** The user that connects to PostgreSQL: the database role of the service, or the owner. */
  database: 'service' | 'owner' | 'none';
  /** The connections of one function instance. */
  pool: number;
  /** The DynamoDB actions that it may do on the listings. */
  listings: string[];
  /** Whether it publishes to the bus. */
  publishes: boolean;
  /** Whether it verifies tokens. */
  verifies: boolean;
}

/** Below the 30 s limit of an HTTP API. */
const HTTP = 29;

/** A release step: Lambda's maximum time, and no concurrency. */
const MIGRATE: Omit<FunctionPlan, 'service'> = {
  processRole: 'migrate',
  memory: 256,
  timeout: 900,
  concurrency: 1,
  database: 'owner',
  pool: 1,
  listings: [],
  publishes: false,
  verifies: false,
};

export const FUNCTIONS = {
  'inventory-api': {
    service: 'inventory',
    processRole: 'api',
    memory: 512,
    timeout: HTTP,
    concurrency: 'api',
    database: 'service',
    pool: 2,
    listings: [],
    publishes: true,
    verifies: true,
  },
  'inventory-relay': {
    service: 'inventory',
    processRole: 'relay',
    memory: 256,
    // A drain ends before the next scheduled one, which continues it.
    timeout: 55,
    concurrency: 2,
    database: 'service',
    pool: 1,
    listings: [],
    publishes: true,
    verifies: false,
  },
  'inventory-migrate': { service: 'inventory', ...MIGRATE },
  'catalog-api': {
    service: 'catalog',
    processRole: 'api',
    memory: 512,
    timeout: HTTP,
    concurrency: 'api',
    database: 'none',
    pool: 0,
    listings: ['GetItem', 'Query'],
    publishes: false,
    verifies: false,
  },
  'catalog-projector': {
    service: 'catalog',
    processRole: 'projector',
    memory: 512,
    timeout: 30,
    concurrency: 10,
    database: 'none',
    pool: 0,
    listings: ['BatchGetItem', 'GetItem', 'PutItem', 'UpdateItem'],
    publishes: false,
    verifies: false,
  },
  'sync-api': {
    service: 'sync',
    processRole: 'api',
    // Listing dead letters receives thousands of messages.
    memory: 512,
    timeout: HTTP,
    concurrency: 2,
    database: 'service',
    pool: 1,
    listings: ['BatchGetItem'],
    publishes: false,
    verifies: true,
  },
  'sync-reconcile': {
    service: 'sync',
    processRole: 'reconcile',
    memory: 512,
    timeout: 900,
    // A second instance would find all buckets leased.
    concurrency: 1,
    database: 'service',
    pool: 4,
    listings: ['BatchGetItem', 'GetItem', 'Query', 'UpdateItem'],
    publishes: false,
    verifies: false,
  },
  'sync-migrate': { service: 'sync', ...MIGRATE },
} as const satisfies Record<string, FunctionPlan>;

export type FunctionName = keyof typeof FUNCTIONS;
export const FUNCTION_NAMES = Object.keys(FUNCTIONS) as FunctionName[];

export function planOf(name: FunctionName): FunctionPlan {
  return FUNCTIONS[name];
}

export function concurrencyOf(name: FunctionName, apiConcurrency: number): number {
  const { concurrency } = planOf(name);
  return concurrency === 'api' ? apiConcurrency : concurrency;
}

/** The function that consumes each queue of the routes. */
export const CONSUMERS: Consumers = { catalog: 'catalog-projector' };

/** Functions by the name of the queue that they consume. */
export type Consumers = Readonly<Record<string, FunctionName>>;

/** The services that log in to PostgreSQL as their own database role. */
export function servicesWithDatabase(): Service[] {
  const plans = FUNCTION_NAMES.map(planOf).filter(({ database }) => database === 'service');
  return [...new Set(plans.map(({ service }) => service))];
}

/** The maximum number of open connections of all functions. */
export function connectionsOf(apiConcurrency: number): number {
  return FUNCTION_NAMES.map(
    (name) => concurrencyOf(name, apiConcurrency) * planOf(name).pool,
  ).reduce((sum, connections) => sum + connections, 0);
}

/** Connections reserved by PostgreSQL and for operators. */
const OTHER_CONNECTIONS = 15;

/**
 * The connection limit of the cluster. Memory limits the connections of an instance: about 95 for each GiB,
 * and a capacity unit has two. Capacity scales with the load but the limit does not, so the limit is that
 * of the smallest capacity.
 */
export function connectionLimit(minCapacity: number): number {
  return Math.min(5_000, Math.floor(189 * Math.max(0.5, minCapacity)));
}

/** Returns a fault if the functions could exhaust the connections. */
export function connectionFault(minCapacity: number, apiConcurrency: number): string | undefined {
  const needed = connectionsOf(apiConcurrency) + OTHER_CONNECTIONS;
  const limit = connectionLimit(minCapacity);
  if (needed <= limit) return undefined;
  return (
    `apiConcurrency: ${apiConcurrency} lets functions open ${needed} connections, but a database ` +
    `of ${minCapacity} capacity units allows ${limit} (databaseMinCapacity)`
  );
}
