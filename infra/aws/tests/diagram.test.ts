import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';

import { draw } from '../lib/diagram';
import { EPHEMERAL, PRODUCTION, ROOT, synthesise } from './fixture';

const README = path.join(ROOT, 'infra/aws/README.md');

for (const [name, given] of [
  ['production', PRODUCTION],
  ['ephemeral', EPHEMERAL],
] as const) {
  test(`the picture of ${name} is that of its template (UPDATE=1 draws it)`, () => {
    const drawn = `<!-- picture: ${name} -->\n\n\`\`\`mermaid\n${draw(synthesise(given).resources)}\n\`\`\`\n`;
    const text = fs.readFileSync(README, 'utf8');
    const pattern = new RegExp(`<!-- picture: ${name} -->\n\n\`\`\`mermaid\n.*?\n\`\`\`\n`, 's');
    assert.match(text, pattern);
    if (process.env['UPDATE'] === '1') {
      fs.writeFileSync(
        README,
        text.replace(pattern, () => drawn),
      );
    } else {
      assert.equal(text.match(pattern)![0], drawn);
    }
  });
}

test('every function and every store is in the picture, and has a connection', () => {
  const picture = draw(synthesise(PRODUCTION).resources);
  for (const node of [
    'inventory-api',
    'inventory-relay',
    'inventory-migrate',
    'catalog-api',
    'catalog-projector',
    'sync-api',
    'sync-reconcile',
    'sync-migrate',
    'aurora',
    'listings',
    'bus',
    'queue',
    'dead',
    'archive',
    'edge',
    'pool',
  ]) {
    const edges = picture.split('\n').filter((line) => line.includes('-->'));
    assert.ok(
      edges.some((line) => line.split(/[\s|]+/).includes(node)),
      `${node} is not connected`,
    );
  }
});
