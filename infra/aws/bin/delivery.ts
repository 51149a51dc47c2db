/** Creates the delivery roles of one account. Its administrator deploys this before any stage. */
import { App, BootstraplessSynthesizer } from 'aws-cdk-lib';
import { Delivery, DeliveryError, readDelivery } from '../lib/delivery';

const app = new App();
const setting = (name: string): string | undefined =>
  app.node.tryGetContext(name) as string | undefined;

try {
  const qualifier = setting('qualifier');
  const providerArn = setting('providerArn');
  new Delivery(app, 'Vitrina-delivery', {
    ...readDelivery(setting('repository') ?? '', setting('environments') ?? ''),
    ...(qualifier === undefined ? {} : { qualifier }),
    ...(providerArn === undefined ? {} : { providerArn }),
    // Uses the administrator's own permissions; the bootstrapped roles are for jobs.
    synthesizer: new BootstraplessSynthesizer(),
  });
} catch (error) {
  if (!(error instanceof DeliveryError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
