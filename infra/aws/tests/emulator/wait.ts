/** Waits for asynchronous effects, with a timeout. */
import { createServer, type AddressInfo } from 'node:net';

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Seconds. Ends a hang and does not measure speed: a schedule fires every minute. */
const MAX_WAIT = 300;

/** Retries `attempt` until it succeeds; after `MAX_WAIT`, throws its last error as the cause. */
export async function eventually<T>(what: string, attempt: () => T | Promise<T>): Promise<T> {
  const deadline = Date.now() + MAX_WAIT * 1000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() >= deadline) {
        throw new Error(`not within ${MAX_WAIT} s: ${what}`, { cause: error });
      }
      await sleep(200);
    }
  }
}

/** Returns an unused port. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
