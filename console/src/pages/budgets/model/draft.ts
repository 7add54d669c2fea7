import { parseMoney, typedMoney } from '@/ui/format/money';

import type { Period } from './words';

/** What a budget may be told by. Own tags besides. */
export const DIMENSIONS = ['customer', 'feature', 'task_type', 'agent', 'user', 'key'] as const;
const MATCHES_MAX = 8;

/** A line of what a budget covers: a dimension, and the value that it must have, or `*`. */
export interface Line {
  readonly name: string;
  readonly value: string;
}

/** A budget as it is being written. Amounts are text until they are read. */
export interface Draft {
  readonly name: string;
  readonly lines: readonly Line[];
  readonly period: Period;
  readonly timezone: string;
  readonly usd: string;
  readonly tokens: string;
  readonly calls: string;
  readonly atEnd: 'stop' | 'park';
}

export interface Written {
  readonly match: Record<string, string>;
  readonly period: Period;
  readonly timezone: string;
  readonly nano: number;
  readonly tokens: number;
  readonly calls: number;
  readonly at_end: 'stop' | 'park';
}

export const EMPTY: Draft = { name: '', lines: [], period: 'month', timezone: 'UTC', usd: '', tokens: '', calls: '', atEnd: 'stop' };

/** A budget that there is, to be changed. */
export function draftOf(budget: Written & { readonly name: string }): Draft {
  const { name, match, period, timezone, nano, tokens, calls, at_end: atEnd } = budget;
  const plain = (value: number): string => (value === 0 ? '' : String(value));
  return { name, lines: Object.entries(match).map(([one, value]) => ({ name: one, value })), period, timezone, usd: nano === 0 ? '' : typedMoney(nano), tokens: plain(tokens), calls: plain(calls), atEnd };
}

/** What is wrong with a draft, by field. */
export type Faults = Partial<Record<'name' | 'lines' | 'timezone' | 'usd' | 'tokens' | 'calls' | 'limits', string>>;

/** What the draft says, or what is wrong with it. */
export function read(draft: Draft): { readonly written: Written | null; readonly faults: Faults } {
  const faults: { -readonly [K in keyof Faults]: Faults[K] } = {};
  const amountOf = (field: 'tokens' | 'calls'): number => {
    const text = draft[field].replaceAll(',', '').trim();
    if (text === '') return 0;
    if (/^\d{1,15}$/.test(text)) return Number(text);
    faults[field] = 'a whole number, or nothing';
    return 0;
  };
  const nano = draft.usd.trim() === '' ? 0 : parseMoney(draft.usd);
  if (nano === null) faults.usd = 'dollars, such as 60 or 0.25, or nothing';
  const [tokens, calls] = [amountOf('tokens'), amountOf('calls')];
  if (!/^[^/\p{C}\p{Zl}\p{Zp}]{1,100}$/u.test(draft.name) || draft.name.trim() !== draft.name) faults.name = 'a name such as acme-month, without a slash';
  const names = draft.lines.map((line) => line.name);
  if (new Set(names).size !== names.length) faults.lines = 'a dimension stands here twice';
  else if (draft.lines.length > MATCHES_MAX) faults.lines = `at most ${MATCHES_MAX}`;
  else if (draft.lines.some((line) => !/^[a-z][a-z0-9_]{0,40}$/.test(line.name))) faults.lines = 'a tag has a name such as x_team';
  if (!isZone(draft.timezone)) faults.timezone = 'a zone such as Europe/Berlin';
  if (Object.keys(faults).length === 0 && nano === 0 && tokens === 0 && calls === 0) faults.limits = 'give it at least one limit';
  if (Object.keys(faults).length > 0 || nano === null) return { written: null, faults };
  const match = Object.fromEntries(draft.lines.map((line) => [line.name, line.value]));
  return { written: { match, period: draft.period, timezone: draft.timezone, nano, tokens, calls, at_end: draft.atEnd }, faults };
}

/** Whether a budget counts something else after the change, so that its accounts begin anew. */
export function beginsAnew(before: Written, after: Written): boolean {
  const of = (one: Written): string => JSON.stringify([one.period, one.timezone, Object.entries(one.match).sort()]);
  return of(before) !== of(after);
}

/** Whether a limit is higher after the change, or gone. */
export function isRaised(before: Written, after: Written): boolean {
  return (['nano', 'tokens', 'calls'] as const).some((one) => before[one] > 0 && (after[one] === 0 || after[one] > before[one]));
}

/** The zones that the browser knows, UTC first. */
export function zones(): string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')];
}

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name !== '';
  } catch {
    return false;
  }
}

