import { pick } from '@/app/search';

/** What sums may be grouped by, as the API names it. */
export const GROUPS = ['customer', 'feature', 'agent', 'task_type', 'model', 'release'] as const;
export type Group = (typeof GROUPS)[number];

/** Spans of time that the page offers, in microseconds. */
export const RANGES = { '24h': 86_400_000_000, '7d': 604_800_000_000, '30d': 2_592_000_000_000 } as const;
export type Range = keyof typeof RANGES;

/** What the address of the page holds. `sort` is a column, with a minus for the largest first. */
export const costsSearch = (search: Record<string, unknown>) => pick(search, ['by', 'range', 'sort', ...GROUPS]);
export type CostsSearch = ReturnType<typeof costsSearch>;

/** The grouping of an address; by customer when it says none, or one that is not there. */
export function groupOf(search: CostsSearch): Group {
  return GROUPS.find((group) => group === search.by) ?? 'customer';
}

/** The span of an address; seven days when it says none. */
export function rangeOf(search: CostsSearch): Range {
  return search.range !== undefined && Object.hasOwn(RANGES, search.range) ? (search.range as Range) : '7d';
}

/** Only what was spent with these values. */
export function onlyOf(search: CostsSearch): Partial<Record<Group, string>> {
  return pick(search, GROUPS);
}
