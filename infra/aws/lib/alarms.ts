/**
 * Which alarms follow from the objectives, before CloudWatch or Prometheus: both say the same, because
 * both are written from this.
 */
import {
  BoundObjective,
  BudgetObjective,
  canFire,
  Few,
  Objectives,
  Severity,
  Window,
} from './objectives';

/** The budget of an objective burns too fast, in one of these pairs of windows. */
export interface BurnAlarm {
  readonly kind: 'burn';
  readonly alarm: string;
  readonly objective: BudgetObjective;
  readonly severity: Severity;
  readonly windows: readonly Window[];
}

/** There were so many bad ones although there was hardly anything. */
export interface FewAlarm {
  readonly kind: 'few';
  readonly alarm: string;
  readonly objective: BudgetObjective;
  readonly severity: Severity;
  readonly few: Few;
}

/** A figure is beyond its bound. */
export interface BoundAlarm {
  readonly kind: 'bound';
  readonly alarm: string;
  readonly objective: BoundObjective;
  readonly severity: Severity;
}

export type Alarm = BurnAlarm | FewAlarm | BoundAlarm;

export function alarmsOf({ objectives, windows }: Objectives): Alarm[] {
  return objectives.flatMap((objective): Alarm[] => {
    if (objective.kind === 'bound') {
      const { alarm, severity } = objective;
      return [{ kind: 'bound', alarm, objective, severity }];
    }
    const { alarm, few } = objective;
    // Of half of all, fourteen times as many cannot be bad: such an alarm would be for show.
    const able = windows.filter((window) => canFire(objective, window));
    const burns = [...new Set(able.map((window) => window.severity))].map(
      (severity): BurnAlarm => ({
        kind: 'burn',
        alarm,
        objective,
        severity,
        windows: able.filter((window) => window.severity === severity),
      }),
    );
    if (few === undefined) return burns;
    return [...burns, { kind: 'few', alarm: few.alarm, objective, severity: few.severity, few }];
  });
}

/** The share of bad ones above which a pair of windows alarms. */
export function limit({ budget }: BudgetObjective, { burn }: Window): number {
  return Math.round(burn * budget * 1e9) / 1e9;
}

/** The page that says what an alarm means and what to do. */
export function runbook(alarm: string): string {
  return `infra/runbooks/${alarm}.md`;
}

/** `5m`, `6h`, `3d`: the largest unit that divides it. */
export function span(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ] as const;
  const [unit, length] = units.find(([, length]) => seconds % length === 0) ?? (['s', 1] as const);
  return `${seconds / length}${unit}`;
}
