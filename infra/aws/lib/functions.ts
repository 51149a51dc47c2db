/** The functions: each is one role of one service's binary. */
import type { Service } from './settings';

export interface FunctionPlan {
  service: Service;
  role: string;
  /** In MiB; what a function has of a processor grows with it. */
  memory: number;
  /** In seconds. */
  timeout: number;
  /**
   * How many run at once at most, which is also reserved for it: no function takes another's place.
   * `api` is the stage's own setting.
   */
  concurrency: number | 'api';
  /** As whom it connects to PostgreSQL. */
  database: 'app' | 'owner' | 'none';
  /** Connections that one running function keeps. */
  pool: number;
  /** What it does with the listings. */
  listings: string[];
  /** Publishes to the bus. */
  publishes: boolean;
  /** Verifies tokens itself. */
  verifies: boolean;
}

/** An HTTP API waits 30 s; a function must have given its answer by then. */
const HTTP = 29;

/** A release step: it has all the time that there is, and nobody beside it. */
const MIGRATE: Omit<FunctionPlan, 'service'> = {
  role: 'migrate',
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
    role: 'api',
    memory: 512,
    timeout: HTTP,
    concurrency: 'api',
    database: 'app',
    pool: 2,
    listings: [],
    publishes: true,
    verifies: true,
  },
  'inventory-relay': {
    service: 'inventory',
    role: 'relay',
    memory: 256,
    // A drain is over before the next tick, or goes on in it.
    timeout: 55,
    concurrency: 2,
    database: 'app',
    pool: 1,
    listings: [],
    publishes: true,
    verifies: false,
  },
  'inventory-migrate': { service: 'inventory', ...MIGRATE },
  'catalog-api': {
    service: 'catalog',
    role: 'api',
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
    role: 'projector',
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
    role: 'api',
    // To look at dead letters is to receive some thousands and to put them back.
    memory: 512,
    timeout: HTTP,
    concurrency: 2,
    database: 'app',
    pool: 1,
    listings: ['BatchGetItem'],
    publishes: false,
    verifies: true,
  },
  'sync-reconcile': {
    service: 'sync',
    role: 'reconcile',
    memory: 512,
    timeout: 900,
    // A second one would only find the buckets leased.
    concurrency: 1,
    database: 'app',
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

/** Connections that all functions together can have open. */
export function connectionsOf(apiConcurrency: number): number {
  return FUNCTION_NAMES.map(
    (name) => concurrencyOf(name, apiConcurrency) * planOf(name).pool,
  ).reduce((sum, connections) => sum + connections, 0);
}

/** What PostgreSQL keeps for itself, and what an operator needs to look into it. */
const OTHER_CONNECTIONS = 15;

/**
 * How many connections the cluster is told to take. Memory decides how many an instance can carry:
 * about 95 for each GiB, of which a unit of capacity has two. It scales with the load and the limit
 * does not, so the limit is that of the smallest capacity, at which it begins.
 */
export function connectionLimit(minCapacity: number): number {
  return Math.min(5_000, Math.floor(189 * Math.max(0.5, minCapacity)));
}

/** Why the functions could use up the connections, if they could. */
export function connectionFault(minCapacity: number, apiConcurrency: number): string | undefined {
  const wanted = connectionsOf(apiConcurrency) + OTHER_CONNECTIONS;
  const limit = connectionLimit(minCapacity);
  if (wanted <= limit) return undefined;
  return (
    `apiConcurrency: ${apiConcurrency} lets functions open ${wanted} connections, and a database ` +
    `of ${minCapacity} capacity units begins with ${limit} (databaseMinCapacity)`
  );
}
