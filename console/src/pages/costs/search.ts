import { pick } from '@/app/search';

/** What every installation counts by, as the API names it; own tags come besides, as `tag.x_team`. */
export const GROUPS = ['customer', 'feature', 'task_type', 'agent', 'release', 'model', 'user', 'kind'] as const;

/** Spans of time that the page offers, in microseconds. A month is what has gone by of it. */
export const RANGES = { '24h': 86_400_000_000, '7d': 604_800_000_000, '30d': 2_592_000_000_000 } as const;
export type Range = keyof typeof RANGES | 'month';
export const RANGE_NAMES: readonly Range[] = ['24h', '7d', '30d', 'month'];

const NAMED = ['by', 'range', 'sort', 'explain', 'explain_feature', ...GROUPS] as const;
const OWN_TAG = /^tag\.\w{1,60}$/;

/** What the address of the page holds. `sort` is a column, with a minus for the largest first. */
export type CostsSearch = Partial<Record<(typeof NAMED)[number] | `tag.${string}`, string>>;

export function costsSearch(search: Record<string, unknown>): CostsSearch {
  const tags = Object.keys(search).filter((name) => OWN_TAG.test(name));
  return pick(search, [...NAMED, ...tags]) as CostsSearch;
}

/** Whether sums can be told by it, as far as one can see from its name. */
export const isGroup = (name: string): boolean => GROUPS.some((group) => group === name) || OWN_TAG.test(name);

/** The one or two groupings of an address; by customer when it says none, or one that is not there. */
export function groupsOf(search: CostsSearch): readonly string[] {
  const wanted = [...new Set((search.by ?? '').split(',').filter(isGroup))].slice(0, 2);
  return wanted.length > 0 ? wanted : ['customer'];
}

/** The span of an address; seven days when it says none. */
export function rangeOf(search: CostsSearch): Range {
  return RANGE_NAMES.find((range) => range === search.range) ?? '7d';
}

/** Where the month of a moment begins, in UTC: that is how sums by day are counted. */
export function monthStart(us: number): number {
  const at = new Date(us / 1000);
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1) * 1000;
}

/** Where the span of an address begins. */
export function sinceOf(search: CostsSearch, now: number): number {
  const range = rangeOf(search);
  return range === 'month' ? monthStart(now) : Math.round(now - RANGES[range]);
}

/** Only what was spent with these values. */
export function onlyOf(search: CostsSearch): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(search).flatMap(([name, value]) => (isGroup(name) && value !== undefined ? [[name, value]] : [])));
}

/** The filter as the API takes it: own tags as a list of `name=value`. */
export function filterOf(search: CostsSearch): Readonly<Record<string, string | string[]>> {
  const only = Object.entries(onlyOf(search));
  const tags = only.filter(([name]) => name.startsWith('tag.')).map(([name, value]) => `${name.slice('tag.'.length)}=${value}`);
  return { ...Object.fromEntries(only.filter(([name]) => !name.startsWith('tag.'))), ...(tags.length > 0 ? { tag: tags } : {}) };
}

const WORDS: Readonly<Record<string, string>> = { task_type: 'task type', kind: 'kind of call' };

/** A grouping as people say it. */
export const groupName = (group: string): string => WORDS[group] ?? group.replace(/^tag\.(x_)?/, 'tag ');
