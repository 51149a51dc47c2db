/**
 * Derives the alarms from the objectives. CloudWatch alarms and Prometheus rules are both generated from
 * these, so that they agree.
 */
import {
  BoundObjective,
  BudgetObjective,
  canFire,
  LowTraffic,
  Objectives,
  Severity,
  Window,
} from './objectives';

/** The error budget burns too fast in one of these pairs of windows. */
export interface BurnAlarm {
  readonly kind: 'burn';
  readonly alarm: string;
  readonly objective: BudgetObjective;
  readonly severity: Severity;
  readonly windows: readonly Window[];
}

/** The count of bad events is too high while traffic is low. */
export interface LowTrafficAlarm {
  readonly kind: 'few';
  readonly alarm: string;
  readonly objective: BudgetObjective;
  readonly severity: Severity;
  readonly few: LowTraffic;
}

/** A metric reached its bound. */
export interface BoundAlarm {
  readonly kind: 'bound';
  readonly alarm: string;
  readonly objective: BoundObjective;
  readonly severity: Severity;
}

export type Alarm = BurnAlarm | LowTrafficAlarm | BoundAlarm;

export function alarmsOf({ objectives, windows }: Objectives): Alarm[] {
  return objectives.flatMap((objective): Alarm[] => {
    if (objective.kind === 'bound') {
      const { alarm, severity } = objective;
      return [{ kind: 'bound', alarm, objective, severity }];
    }
    const { alarm, few } = objective;
    // For a median, 14.4 times the budget is more than all events: such an alarm could never fire.
    const usable = windows.filter((window) => canFire(objective, window));
    const burns = [...new Set(usable.map((window) => window.severity))].map(
      (severity): BurnAlarm => ({
        kind: 'burn',
        alarm,
        objective,
        severity,
        windows: usable.filter((window) => window.severity === severity),
      }),
    );
    if (few === undefined) return burns;
    return [...burns, { kind: 'few', alarm: few.alarm, objective, severity: few.severity, few }];
  });
}

/** The share of bad events above which a pair of windows alarms. */
export function burnThreshold({ budget }: BudgetObjective, { burn }: Window): number {
  return Math.round(burn * budget * 1e9) / 1e9;
}

/** The path of an alarm's runbook. */
export function runbook(alarm: string): string {
  return `infra/runbooks/${alarm}.md`;
}

/** Formats a duration as `5m`, `6h` or `3d`, in the largest unit that divides it. */
export function formatDuration(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ] as const;
  const [unit, length] = units.find(([, length]) => seconds % length === 0) ?? (['s', 1] as const);
  return `${seconds / length}${unit}`;
}
