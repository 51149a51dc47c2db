/** The roles of delivery in one account, by its administrator, before anything else is there. */
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
    // With the administrator's own rights: what is bootstrapped is for jobs.
    synthesizer: new BootstraplessSynthesizer(),
  });
} catch (error) {
  if (!(error instanceof DeliveryError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
