/**
 * The schema is brought up to date before anything runs on it: the aliases that all traffic goes
 * through move only after both services have migrated. A migration that fails ends the deployment,
 * and what was live stays so.
 */
import { Duration } from 'aws-cdk-lib';
import { Trigger } from 'aws-cdk-lib/triggers';
import { Construct } from 'constructs';

import { FUNCTION_NAMES, planOf } from './functions';
import type { Services } from './services';

export class Migrations extends Construct {
  /**
   * @param after What must be there before a migration can begin.
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
    // What sync reads is made by inventory.
    const sync = migrate('sync-migrate', [inventory]);
    for (const name of FUNCTION_NAMES) {
      if (planOf(name).role !== 'migrate') sync.executeBefore(services.all[name].alias);
    }
  }
}
