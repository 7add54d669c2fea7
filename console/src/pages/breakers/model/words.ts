import type { BreakerCondition, BreakerShown, BreakerTrip } from '@/api/schema';
import { count, percent, plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';

export const EACH = '*';
export const OTHER = '(other)';

/** Seconds for reading: "45 s", "10 min". */
export function span(seconds: number): string {
  if (seconds < 120) return `${Number(seconds.toPrecision(3))} s`;
  return seconds < 7200 ? `${Number((seconds / 60).toPrecision(3))} min` : `${Number((seconds / 3600).toPrecision(3))} h`;
}

/** When a breaker trips, in words with its figures. */
export function conditionWords(condition: BreakerCondition): string {
  const { kind, limit, calls, seconds, expected, of, slow_seconds: slow, baseline } = condition;
  // The server fills in what was left to the default of its kind.
  switch (kind) {
    case 'failures':
      return `${plural(limit, 'call')} in a row ${limit === 1 ? 'fails' : 'fail'}`;
    case 'cost_mean':
      return `the last ${plural(calls, of === 'run' ? 'run' : 'call')} cost on average more than ${limit} times ${expected > 0 ? `the ${money(expected)} expected` : `what the first ${count(baseline)} did`}`;
    case 'cost_rate':
      return `more than ${money(limit)} within ${span(seconds)}`;
    case 'error_rate':
      return `more than ${percent(limit)} of at least ${plural(calls, 'call')} within ${span(seconds)} fail`;
    case 'latency':
      return `more than ${percent(limit)} of at least ${plural(calls, 'call')} within ${span(seconds)} take over ${span(slow)}`;
    case 'drift':
      return `answers drift away from the first ${count(baseline)}`;
  }
}

const SCOPES: Readonly<Record<string, string>> = { task_type: 'task type' };

/** What it watches: "each model", "tool refund". */
export function scopeWords(scope: string, value: string): string {
  const name = SCOPES[scope] ?? scope;
  return value === EACH ? `each ${name}` : `${name} ${value}`;
}

/** One of its circuits. */
export const circuitWords = (scope: string, value: string): string => (value === OTHER ? `all other ${SCOPES[scope] ?? scope}s` : `${SCOPES[scope] ?? scope} ${value}`);

/** What happens to calls while it is open. */
export function meanwhileWords(meanwhile: string, fallback: string): string {
  if (meanwhile === 'queue') return 'calls wait, and their runs park';
  if (meanwhile === 'fallback') return fallback ? `${fallback} is asked instead` : 'the call’s own fallback is asked instead';
  return 'calls are denied';
}

const FIGURES: Readonly<Record<string, string>> = {
  mean_nano: 'mean', expected_nano: 'expected', nano: 'spent', limit: 'limit', seconds: 'within', calls: 'calls', factor: 'allowed factor', share: 'share', failures: 'in a row', evidence: 'so much by accident at most once in',
};

/** A figure of a trip's evidence: its name and its value, as people read them. */
export function figureWords(name: string, value: number, condition: string): readonly [string, string] {
  const words = FIGURES[name] ?? name.replaceAll('_', ' ');
  if (name.endsWith('nano') || (name === 'limit' && condition === 'cost_rate')) return [words, money(Math.round(value))];
  if (name === 'share' || name === 'limit') return [words, percent(value)];
  if (name === 'seconds') return [words, span(value)];
  if (name === 'evidence') return [words, `${value < 1e15 ? count(value) : value.toExponential(1)} calls`];
  return [words, Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(3)))];
}

/** A call that led to a trip. */
export interface TripCall {
  readonly run: string;
  readonly name: string;
  readonly nano: number;
  readonly latency: number;
  readonly failure: string;
}

/** What led to a trip, as far as its record can be read. */
export interface Evidence {
  readonly condition: string;
  readonly words: string;
  readonly figures: readonly (readonly [string, number])[];
  readonly calls: readonly TripCall[];
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {});

/** Reads the record of a trip. What is no figure or no call is left out. */
export function evidenceOf({ evidence }: Pick<BreakerTrip, 'evidence'>): Evidence {
  const calls: unknown[] = Array.isArray(evidence['calls']) ? evidence['calls'] : [];
  return {
    condition: textOf(evidence['condition']),
    words: textOf(evidence['words']),
    figures: Object.entries(fieldsOf(evidence['figures'])).filter((one): one is [string, number] => typeof one[1] === 'number'),
    calls: calls.map(fieldsOf).map((call) => ({ run: textOf(call['run']), name: textOf(call['name']), nano: numberOf(call['nano']), latency: numberOf(call['latency_us']), failure: textOf(call['failure']) })),
  };
}

export type State = 'closed' | 'open' | 'half_open';

/** The worst of a breaker's circuits is how it stands. */
export function stateOf(breaker: Pick<BreakerShown, 'open' | 'half_open'>): State {
  if (breaker.open > 0) return 'open';
  return breaker.half_open > 0 ? 'half_open' : 'closed';
}
