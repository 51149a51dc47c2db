/** Waits for asynchronous effects, with a timeout. */
import { createServer, type AddressInfo } from 'node:net';

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Retries `attempt` until it succeeds; after `seconds`, throws its last error as the cause. */
export async function eventually<T>(
  what: string,
  seconds: number,
  attempt: () => T | Promise<T>,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() >= deadline) {
        throw new Error(`not within ${seconds} s: ${what}`, { cause: error });
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
