/**
 * Migrates the schema before new code runs on it: the aliases, which receive all traffic, move only after
 * the migrations of both services have succeeded. A failed migration ends the deployment, and the previous
 * versions stay live.
 */
import { Duration } from 'aws-cdk-lib';
import { Trigger } from 'aws-cdk-lib/triggers';
import { Construct } from 'constructs';

import { FUNCTION_NAMES, planOf } from './functions';
import type { Services } from './services';

export class Migrations extends Construct {
  /**
   * @param after Resources that migrations depend on.
   */
  constructor(scope: Construct, id: string, services: Services, after: Construct[]) {
    super(scope, id);
    const migrate = (name: 'inventory-migrate' | 'sync-migrate', first: Construct[]): Trigger =>
      new Trigger(this, name, {
        handler: services.all[name].function,
        timeout: Duration.seconds(planOf(name).timeout),
        executeAfter: first,
      });
    const inventory = migrate('inventory-migrate', after);
    // Sync reads what inventory publishes, and must not be live before it is there.
    const sync = migrate('sync-migrate', [inventory]);
    for (const name of FUNCTION_NAMES) {
      if (planOf(name).processRole !== 'migrate') sync.executeBefore(services.all[name].alias);
    }
  }
}
