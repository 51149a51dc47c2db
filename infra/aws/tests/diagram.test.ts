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
  test(`diagram of ${name} is up to date (UPDATE=1 writes it)`, () => {
    const drawn = `<!-- diagram: ${name} -->\n\n\`\`\`mermaid\n${draw(synthesise(given).resources)}\n\`\`\`\n`;
    const text = fs.readFileSync(README, 'utf8');
    const pattern = new RegExp(`<!-- diagram: ${name} -->\n\n\`\`\`mermaid\n.*?\n\`\`\`\n`, 's');
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

test('every function and store is connected in the diagram', () => {
  const diagram = draw(synthesise(PRODUCTION).resources);
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
    const edges = diagram.split('\n').filter((line) => line.includes('-->'));
    assert.ok(
      edges.some((line) => line.split(/[\s|]+/).includes(node)),
      `${node} is not connected`,
    );
  }
});
