/**
 * A proxy between the functions and EventBridge that can refuse events like a throttling EventBridge: the call
 * succeeds, and the result of each entry reports the refusal.
 */
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class RefusingBus {
  private refusing = false;
  private refuseNext = false;
  /** The number of refused events. */
  refused = 0;

  private constructor(
    private readonly server: Server,
    private readonly emulator: URL,
  ) {}

  static async start(emulator: string): Promise<RefusingBus> {
    const server = createServer();
    const bus = new RefusingBus(server, new URL(emulator));
    server.on('request', (incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const body = Buffer.concat(chunks);
        const puts = incoming.headers['x-amz-target'] === 'AWSEvents.PutEvents';
        if (puts && (bus.refusing || bus.refuseNext)) {
          bus.refuseNext = false;
          const response = JSON.stringify(bus.refuse(body.toString()));
          outgoing.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(response);
          return;
        }
        const { hostname, port } = bus.emulator;
        const { method, url: path, headers } = incoming;
        request({ hostname, port, method, path, headers }, (response) => {
          outgoing.writeHead(response.statusCode ?? 502, response.headers);
          response.pipe(outgoing);
        })
          .on('error', () => outgoing.writeHead(502).end())
          .end(body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return bus;
  }

  private refuse(body: string): object {
    const { Entries: entries } = JSON.parse(body) as { Entries: unknown[] };
    this.refused += entries.length;
    return {
      FailedEntryCount: entries.length,
      Entries: entries.map(() => ({
        ErrorCode: 'ThrottlingException',
        ErrorMessage: 'Rate exceeded',
      })),
    };
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Refuses only the next call. */
  refuseOnce(): void {
    this.refuseNext = true;
  }

  /** Refuses every event while `work` runs. */
  async while<T>(work: () => Promise<T>): Promise<T> {
    this.refusing = true;
    try {
      return await work();
    } finally {
      this.refusing = false;
    }
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
