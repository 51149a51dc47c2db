/**
 * Monitoring: an alarm for each objective of `infra/slo.yaml`, and a dashboard with the underlying metrics.
 *
 * A budget burns too fast when both windows of a pair agree. Each window is an alarm on a single datapoint as
 * long as the window, because a CloudWatch alarm has only one period. The composite alarm of the windows
 * sends the notification.
 */
import { Aws, Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  Alarm,
  alarmsOf,
  BoundAlarm,
  BurnAlarm,
  LowTrafficAlarm,
  burnThreshold,
  runbook,
  formatDuration,
} from './alarms';
import { CATALOGUE } from './messaging';
import { BudgetObjective, MetricSource, Objectives, readObjectives } from './objectives';

export interface ObservabilityProps {
  /** Defaults to those of `infra/slo.yaml`. */
  readonly objectives?: Objectives;
  readonly stage: string;
  /** The HTTP API that receives all requests. */
  readonly apiId: string;
  readonly functions: Readonly<Record<string, lambda.IFunction>>;
  /** By their names in the routes, in that order. */
  readonly queues: readonly {
    readonly name: string;
    readonly queue: sqs.IQueue;
    readonly deadLetters: sqs.IQueue;
  }[];
  readonly table: { readonly tableName: string };
  /** Notifies its subscribers. */
  readonly topic: sns.ITopic;
  /** The namespace of the functions' metrics; separate for each stage of an account. */
  readonly metricsNamespace: string;
  /** Whether the database may sleep: then nothing runs on a schedule, and missing data is expected. */
  readonly sleeps: boolean;
  /**
   * Whether to create budget alarms, which cost about ten dollars a month. Not for stages without on-call,
   * nor on emulators, which support neither expressions nor composite alarms.
   */
  readonly budgets: boolean;
}

const MINUTE = Duration.minutes(1);

export class Observability extends Construct {
  /** The alarms that notify, with the names of their runbooks. */
  readonly alarms: { readonly alarm: string; readonly resource: cloudwatch.AlarmBase }[];

  constructor(
    scope: Construct,
    id: string,
    private readonly props: ObservabilityProps,
  ) {
    super(scope, id);
    const selected = alarmsOf(props.objectives ?? readObjectives()).filter(
      (alarm) => alarm.kind === 'bound' || props.budgets,
    );
    const action = new SnsAction(props.topic);
    this.alarms = selected.flatMap((alarm) =>
      this.resources(alarm).map((resource) => {
        resource.addAlarmAction(action);
        // A page also announces its recovery.
        if (alarm.severity === 'page') resource.addOkAction(action);
        return { alarm: alarm.alarm, resource };
      }),
    );
    this.dashboard();
  }

  private resources(alarm: Alarm): cloudwatch.AlarmBase[] {
    switch (alarm.kind) {
      case 'burn':
        return [this.burnRate(alarm)];
      case 'few':
        return [this.lowTraffic(alarm)];
      case 'bound':
        return this.bounds(alarm);
    }
  }

  private burnRate(alarm: BurnAlarm): cloudwatch.AlarmBase {
    const { objective, windows } = alarm;
    const pairs = windows.map((window) => {
      const watch = (length: number, least: number): cloudwatch.IAlarmRule => {
        const id = `${objective.name}-${formatDuration(length)}-at-${window.burn}`;
        const bad = new cloudwatch.Alarm(this, id, {
          metric: this.share(objective, Duration.seconds(length), least),
          threshold: burnThreshold(objective, window),
          comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
          evaluationPeriods: 1,
          treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
          alarmDescription: `One half of a pair; it sends no notification. ${objective.summary}`,
        });
        return cloudwatch.AlarmRule.fromAlarm(bad, cloudwatch.AlarmState.ALARM);
      };
      return cloudwatch.AlarmRule.allOf(
        watch(window.long, objective.least),
        watch(window.short, 1),
      );
    });
    return new cloudwatch.CompositeAlarm(this, `${objective.name}-${alarm.severity}`, {
      alarmRule: cloudwatch.AlarmRule.anyOf(...pairs),
      alarmDescription: this.description(alarm),
    });
  }

  private lowTraffic(alarm: LowTrafficAlarm): cloudwatch.AlarmBase {
    const { few, objective } = alarm;
    const period = Duration.seconds(few.within);
    const { bad, all } = this.counts(objective, period);
    return new cloudwatch.Alarm(this, `${objective.name}-few`, {
      metric: new cloudwatch.MathExpression({
        expression: `IF(all < ${objective.least}, ${bad.expression}, 0)`,
        usingMetrics: { ...bad.metrics, all },
        label: 'bad events',
        period,
      }),
      threshold: few.count,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: 1,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      alarmDescription: this.description(alarm),
    });
  }

  /**
   * The alarm of a bound. On dead letters there is one for each queue: the emulator does not support
   * metric expressions.
   */
  private bounds(alarm: BoundAlarm): cloudwatch.AlarmBase[] {
    const { name, cloudwatch: source } = alarm.objective;
    if (source.source !== 'dead-letters') {
      return [this.bound(alarm, name, (period) => this.metric(source, period))];
    }
    const { metric: metricName, statistic } = source;
    return this.props.queues.map(({ name: queue, deadLetters }) =>
      // As its queue, the alarm of the catalogue keeps the name that it was deployed with.
      this.bound(
        alarm,
        queue === CATALOGUE ? name : `${name}-${queue}`,
        (period) => deadLetters.metric(metricName, { statistic, period }),
        queue,
      ),
    );
  }

  private bound(
    alarm: BoundAlarm,
    id: string,
    metric: (period: Duration) => cloudwatch.Metric,
    queue?: string,
  ): cloudwatch.AlarmBase {
    const { objective } = alarm;
    const isMissingDataBad = objective.missing === 'alarm' && !this.props.sleeps;
    // A sum is over the whole duration; a maximum must exceed the bound for all of it.
    const isSum = objective.cloudwatch.statistic === 'Sum';
    // Twelve datapoints are enough for an hour.
    const step = objective.lasting >= 3_600 ? 300 : 60;
    const period = Duration.seconds(isSum ? objective.lasting : step);
    return new cloudwatch.Alarm(this, id, {
      metric: metric(period),
      threshold: objective.below,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: isSum ? 1 : objective.lasting / step,
      treatMissingData: isMissingDataBad
        ? cloudwatch.TreatMissingData.BREACHING
        : cloudwatch.TreatMissingData.NOT_BREACHING,
      alarmDescription: this.description(alarm, queue),
    });
  }

  private description({ alarm, objective, severity }: Alarm, queue?: string): string {
    const place = `stage ${this.props.stage}${queue === undefined ? '' : `, queue ${queue}`}`;
    return `${severity}, ${place}. Objective missed: ${objective.summary} See ${runbook(alarm)}`;
  }

  /** The share of bad events, or 0 if there are fewer than `least` events. */
  private share(
    objective: BudgetObjective,
    period: Duration,
    least: number,
  ): cloudwatch.MathExpression {
    const { bad, all } = this.counts(objective, period);
    return new cloudwatch.MathExpression({
      expression: `IF(all >= ${least}, (${bad.expression}) / all, 0)`,
      usingMetrics: { ...bad.metrics, all },
      label: objective.name,
      period,
    });
  }

  private counts(
    objective: BudgetObjective,
    period: Duration,
  ): {
    bad: { expression: string; metrics: Record<string, cloudwatch.IMetric> };
    all: cloudwatch.IMetric;
  } {
    if (objective.kind === 'ratio') {
      const { bad, all } = objective.cloudwatch;
      return {
        bad: { expression: 'FILL(bad, 0)', metrics: { bad: this.metric(bad, period) } },
        all: this.metric(all, period),
      };
    }
    const { cloudwatch: values, within } = objective;
    const most = values.unit === 'ms' ? within * 1_000 : within;
    const source = { source: 'code' as const, ...values };
    const rank = cloudwatch.Stats.percentileRank(most);
    return {
      bad: {
        expression: 'all * (1 - fast / 100)',
        metrics: { fast: this.metric({ ...source, statistic: rank }, period) },
      },
      all: this.metric({ ...source, statistic: 'SampleCount' }, period),
    };
  }

  private metric(source: MetricSource, period: Duration): cloudwatch.Metric {
    const { metric: metricName, statistic } = source;
    switch (source.source) {
      case 'api':
        return new cloudwatch.Metric({
          namespace: 'AWS/ApiGateway',
          dimensionsMap: { ApiId: this.props.apiId },
          metricName,
          statistic,
          period,
        });
      case 'code':
        return this.reported(source.service, source.role, metricName, statistic, period);
    }
  }

  private reported(
    service: string,
    role: string,
    metricName: string,
    statistic: string,
    period = MINUTE,
  ): cloudwatch.Metric {
    return new cloudwatch.Metric({
      namespace: this.props.metricsNamespace,
      dimensionsMap: { service, role },
      metricName,
      statistic,
      period,
    });
  }

  private dashboard(): void {
    const { props } = this;
    const five = Duration.minutes(5);
    const graph = (title: string, left: cloudwatch.IMetric[], right?: cloudwatch.IMetric[]) =>
      new cloudwatch.GraphWidget({ title, left, ...(right && { right }), width: 8, height: 6 });
    const api = (metric: string, statistic: string) =>
      this.metric({ source: 'api', metric, statistic }, five);
    const reads = (statistic: string) =>
      this.reported('catalog', 'api', 'http_request_duration_ms', statistic, five);
    const lag = (statistic: string) =>
      this.reported('catalog', 'projector', 'events_lag_ms', statistic, five);
    const functions = Object.values(props.functions);
    const table = (metricName: string) =>
      new cloudwatch.Metric({
        namespace: 'AWS/DynamoDB',
        dimensionsMap: { TableName: props.table.tableName },
        metricName,
        statistic: 'Sum',
        period: five,
      });
    const dashboard = new cloudwatch.Dashboard(this, 'Dashboard', {
      defaultInterval: Duration.days(1),
    });
    dashboard.addWidgets(
      new cloudwatch.TextWidget({
        width: 24,
        height: 2,
        markdown: `# ${props.stage}, ${Aws.REGION}\nObjectives: infra/slo.yaml. Runbooks: infra/runbooks.`,
      }),
      new cloudwatch.AlarmStatusWidget({
        title: 'Objectives',
        width: 24,
        height: 4,
        alarms: this.alarms.map(({ resource }) => resource),
      }),
      graph(
        'Requests and failed requests',
        [api('Count', 'Sum')],
        [api('5xx', 'Sum'), api('4xx', 'Sum')],
      ),
      graph('Public reads, measured in the service (ms)', [
        reads('p50'),
        reads('p95'),
        reads('p99'),
      ]),
      graph('All requests, measured at the gateway (ms)', [
        api('Latency', 'p50'),
        api('Latency', 'p95'),
        api('Latency', 'p99'),
      ]),
      graph('Commit to visible (ms)', [lag('p50'), lag('p99')]),
      graph(
        'Outbox: pending events',
        [this.reported('inventory', 'relay', 'outbox_oldest_pending_seconds', 'Maximum')],
        [this.reported('inventory', 'relay', 'outbox_pending', 'Maximum')],
      ),
      graph(
        'Queue and dead letters',
        props.queues.flatMap(({ queue }) => [
          queue.metricApproximateNumberOfMessagesVisible({ period: MINUTE }),
          queue.metricApproximateAgeOfOldestMessage({ period: MINUTE }),
        ]),
        props.queues.map(({ deadLetters }) =>
          deadLetters.metricApproximateNumberOfMessagesVisible({ period: MINUTE }),
        ),
      ),
      graph(
        'Reconciliation',
        [
          this.reported('sync', 'reconcile', 'drift_found', 'Sum', five),
          this.reported('sync', 'reconcile', 'drift_repaired', 'Sum', five),
        ],
        [this.reported('sync', 'reconcile', 'buckets_oldest_checked_seconds', 'Maximum', five)],
      ),
      graph(
        'Functions: errors and throttles',
        functions.map((it) => it.metricErrors({ period: five })),
        functions.map((it) => it.metricThrottles({ period: five })),
      ),
      graph(
        'Listings: consumed capacity and throttled requests',
        [table('ConsumedReadCapacityUnits'), table('ConsumedWriteCapacityUnits')],
        [table('ReadThrottleEvents'), table('WriteThrottleEvents')],
      ),
    );
  }
}
