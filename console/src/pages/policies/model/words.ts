import type { PolicyReplay, PolicyRuleShown } from '@/api/schema';
import { plural } from '@/ui/format/count';

const DAY_US = 86_400_000_000;
/** A rule that nobody has looked at for half a year is marked: what it was written for may have changed. */
const OLD_DAYS = 180;
const ITEMS = 6;

type Conditions = PolicyRuleShown['when'];

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a condition asks for: "min 1; max 5000", "refund, mail". Never cut: it is what calls are held to. */
export function valueWords(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueWords).join(', ');
  if (isRecord(value)) return Object.entries(value).map(([name, one]) => `${name} ${valueWords(one)}`).join('; ');
  return String(value);
}

/** Lines of a rule's conditions: `["args.amount_cents", "max 5000"]`. */
export const conditionsOf = (conditions: Conditions): [string, string][] => Object.entries(conditions).map(([key, value]) => [key, valueWords(value)]);

/** "2 h", "1 d 4 h": seconds in the largest units that fit. */
function span(seconds: number): string {
  const parts: string[] = [];
  let left = Math.round(seconds);
  for (const [unit, size] of [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]] as const) {
    const n = Math.floor(left / size);
    if (n > 0) parts.push(`${n} ${unit}`);
    left -= n * size;
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []);
const numberOf = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

/** Who must allow a call that is held, in words; "" of a rule that does not say. */
export function approversWords(approvers: PolicyRuleShown['approvers']): string {
  if (approvers === null) return '';
  const roles = texts(approvers['roles']);
  const count = Math.max(1, numberOf(approvers['count']));
  const from = roles.length > 0 ? roles.join(' or ') : 'those who may decide';
  const words = [count === 1 ? `one of ${from} must allow it` : `${count} different people of ${from} must allow it`];
  const seconds = numberOf(approvers['seconds']);
  if (seconds > 0) words.push(`within ${span(seconds)}`);
  const told = texts(approvers['escalate_to']);
  if (told.length > 0) words.push(`after ${span(numberOf(approvers['escalate_after_seconds']))} ${told.join(' and ')} are told too`);
  return words.join('; ');
}

/** How many days ago a rule was reviewed; null when its date cannot be read. Days are counted in UTC. */
export function reviewedDays(reviewed: string, now: number): number | null {
  const at = /^\d{4}-\d\d-\d\d$/.test(reviewed) ? Date.parse(`${reviewed}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(at)) return null;
  return Math.max(0, Math.floor((now - at * 1000) / DAY_US));
}

/** Whether nobody has looked at a rule for too long. */
export function isOld(reviewed: string, now: number): boolean {
  const days = reviewedDays(reviewed, now);
  return days === null || days > OLD_DAYS;
}

/** Rules that have a text in their name, owner, reason or what they ask about. */
export function matching(rules: readonly PolicyRuleShown[], find: string): readonly PolicyRuleShown[] {
  const wanted = find.trim().toLowerCase();
  if (wanted === '') return rules;
  const said = (rule: PolicyRuleShown): string =>
    [rule.name, rule.owner, rule.reason, rule.then, rule.file, ...[...conditionsOf(rule.when), ...conditionsOf(rule.unless)].flat()].join('\n').toLowerCase();
  return rules.filter((rule) => said(rule).includes(wanted));
}

/** A line of a text with a mark below one of its columns, both from 1; null when the text has no such line. */
export function excerpt(text: string, line: number, column: number): { readonly line: string; readonly mark: string } | null {
  const found = text.split(/\r\n|[\r\n]/)[line - 1];
  if (found === undefined || column < 1) return null;
  // Places are counted in characters, of which some are two units here.
  const before = Array.from(found).slice(0, column - 1);
  return { line: found, mark: before.map((one) => (one === '\t' ? '\t' : ' ')).join('') + '^' };
}

/** The offset of a place in a text (as `selectionStart` counts); both from 1. */
export function offsetOf(text: string, line: number, column: number): number {
  let at = 0;
  for (let left = line - 1; left > 0; left -= 1) {
    const end = text.indexOf('\n', at);
    if (end < 0) return text.length;
    at = end + 1;
  }
  const end = text.indexOf('\n', at);
  const rest = text.slice(at, end < 0 ? text.length : end);
  return at + Array.from(rest).slice(0, Math.max(0, column - 1)).join('').length;
}

/** Calls that were made and would have fared otherwise, of one tool. */
export interface Changed {
  readonly was: string;
  readonly now: string;
  readonly tool: string;
  readonly calls: number;
}

/** One of them. */
export interface ChangedCall extends Omit<Changed, 'calls'> {
  readonly run: string;
  readonly path: string;
  readonly rule: string;
  readonly at: number;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** What a replay says, read as far as it can be. */
export function replayOf(replay: Pick<PolicyReplay, 'changes' | 'examples'>): { readonly changes: Changed[]; readonly examples: ChangedCall[] } {
  const base = (one: Readonly<Record<string, unknown>>) => ({ was: text(one['was']), now: text(one['now']), tool: text(one['tool']) });
  return {
    changes: replay.changes.map((one) => ({ ...base(one), calls: numberOf(one['calls']) })),
    examples: replay.examples.map((one) => ({ ...base(one), run: text(one['run']), path: text(one['path']), rule: text(one['rule']), at: numberOf(one['at']) })),
  };
}

/** "in refunds.yaml", "in 12 files: a.yaml, b.yaml, …". */
export function filesWords(files: readonly string[]): string {
  if (files.length === 0) return '';
  if (files.length === 1) return `in ${files[0] ?? ''}`;
  return `in ${plural(files.length, 'file')}: ${files.slice(0, ITEMS).join(', ')}${files.length > ITEMS ? ', …' : ''}`;
}
