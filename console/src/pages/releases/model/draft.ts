import type { ReleaseDraft } from '@/api/schema';
import { parseMoney, typedMoney } from '@/ui/format/money';

/** The code as it is offered, as what a draft begins with. */
export const OFFERED = 'offered';

/** What of a release can be changed, as its manifest has it. */
export interface Base {
  readonly prompts: Readonly<Record<string, string>>;
  readonly models: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly budget: Readonly<Record<string, number>>;
  readonly policy: Readonly<Record<string, string>>;
  /** null: nothing is said of them, so those of the code count. */
  readonly filters: Readonly<Record<string, unknown>> | null;
  readonly version: string;
}

const objectOf = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {});
const ofKind = <T>(value: unknown, is: (one: unknown) => one is T): Record<string, T> => Object.fromEntries(Object.entries(objectOf(value)).filter((entry): entry is [string, T] => is(entry[1])));
const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';

/** Reads a manifest. */
export function baseOf(manifest: Readonly<Record<string, unknown>>): Base {
  const { models, version, filters } = manifest;
  return {
    prompts: ofKind(manifest['prompts'], isText), models: Array.isArray(models) ? models.filter(isText) : [], settings: objectOf(manifest['settings']),
    budget: ofKind(manifest['budget'], isNumber), policy: ofKind(manifest['policy'], isText), filters: filters === undefined || filters === null ? null : objectOf(filters), version: isText(version) ? version : '',
  };
}

/** Characters that are shown beside what was written otherwise. */
const BESIDE = 160;

/** Of a stretch that is as it was what stands beside a change before or after it; the rest is left out, and says so. */
export function around(text: string, before: boolean, after: boolean): string {
  const [head, tail] = [before ? BESIDE : 0, after ? BESIDE : 0];
  if (text.length <= head + tail + BESIDE) return text;
  return `${text.slice(0, head)}${head > 0 ? ' ' : ''}[…]${tail > 0 ? ' ' : ''}${tail > 0 ? text.slice(-tail) : ''}`;
}

/** Limits of one run, in the order in which they are asked for, with what each is. */
export const LIMITS = [
  { name: 'nano', label: 'dollars' }, { name: 'tokens', label: 'tokens' }, { name: 'steps', label: 'steps' }, { name: 'calls', label: 'tool calls' }, { name: 'attempts', label: 'attempts' },
  { name: 'seconds', label: 'seconds' }, { name: 'depth', label: 'depth of delegation' }, { name: 'fanout', label: 'children at a time' }, { name: 'retries', label: 'tries again' },
] as const;
export type Limit = (typeof LIMITS)[number]['name'];

/** A release as it is being written: texts, until they are read. */
export interface Draft {
  readonly prompts: Readonly<Record<string, string>>;
  readonly models: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly budget: Readonly<Record<Limit, string>>;
  readonly filters: string;
  readonly keepsPolicy: boolean;
  readonly version: string;
}

const typedLimit = (name: Limit, value: number): string => (value === 0 ? '' : name === 'nano' ? typedMoney(value) : String(value));

export function draftFrom(base: Base): Draft {
  return {
    prompts: base.prompts, models: base.models.join('\n'),
    settings: Object.fromEntries(Object.entries(base.settings).map(([name, value]) => [name, settingText(value)])),
    budget: Object.fromEntries(LIMITS.map(({ name }) => [name, typedLimit(name, base.budget[name] ?? 0)])) as Record<Limit, string>,
    filters: base.filters === null ? '' : JSON.stringify(base.filters, null, 2), keepsPolicy: true, version: base.version,
  };
}

export const settingText = (value: unknown): string => (typeof value === 'object' && value !== null ? JSON.stringify(value, null, 2) : JSON.stringify(value));

/** What is wrong, by field: `models`, `filters`, `prompt NAME`, `setting NAME`, `budget NAME`. */
export type Faults = Readonly<Record<string, string>>;
type Changes = Omit<ReleaseDraft, 'agent' | 'reason'>;

const JSON_MAX_SAFE = /[0-9]{16,}/;

/** What the form says; all of it is sent, so that what is left out of it cannot come from elsewhere. */
export function readDraft(draft: Draft, base: Base): { readonly changes: Changes | null; readonly faults: Faults } {
  const faults: Record<string, string> = {};
  const models = draft.models.split('\n').map((one) => one.trim()).filter((one) => one !== '');
  if (base.models.length > 0 && (models.length === 0 || models.length > 10 || new Set(models).size < models.length)) faults['models'] = '1 to 10, each once';
  for (const [name, text] of Object.entries(draft.prompts)) if (text.trim() === '') faults[`prompt ${name}`] = 'it is empty';
  const settings = Object.fromEntries(Object.entries(draft.settings).map(([name, text]) => [name, readJson(text, `setting ${name}`, faults)]));
  const budget = Object.fromEntries(LIMITS.map(({ name }) => [name, readLimit(name, draft.budget[name], faults)])) as Record<Limit, number>;
  const filters = draft.filters.trim() === '' ? null : readJson(draft.filters, 'filters', faults);
  if (filters !== null && faults['filters'] === undefined && (typeof filters !== 'object' || Array.isArray(filters))) faults['filters'] = 'an object in braces';
  if (Object.keys(faults).length > 0) return { changes: null, faults };
  const changes = { prompts: { ...draft.prompts }, models, settings, budget, policy: draft.keepsPolicy ? { ...base.policy } : {}, filters: filters as Changes['filters'] & object | null, version: draft.version.trim() };
  return { changes, faults };
}

function readJson(text: string, field: string, faults: Record<string, string>): unknown {
  try {
    // A number that a browser would round is not to be sent as another.
    if (JSON_MAX_SAFE.test(text.replace(/"(?:[^"\\]|\\.)*"/g, '""'))) throw new Error('too long');
    return JSON.parse(text) as unknown;
  } catch {
    faults[field] = 'no JSON';
    return null;
  }
}

function readLimit(name: Limit, text: string, faults: Record<string, string>): number {
  const plain = text.replaceAll(',', '').trim();
  if (plain === '') return 0;
  if (name === 'nano') {
    const nano = parseMoney(text);
    if (nano === null) faults['budget nano'] = 'dollars, such as 0.25';
    return nano ?? 0;
  }
  if (name === 'retries' && plain === '-1') return -1;
  const fits = name === 'seconds' ? /^\d{1,9}(\.\d{1,6})?$/ : /^\d{1,15}$/;
  if (!fits.test(plain)) faults[`budget ${name}`] = 'a number, or nothing';
  return Number(plain) || 0;
}
