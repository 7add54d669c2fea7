import { pick } from '@/app/search';

/** Filters of the list as the API names them; `since` and `until` may be spans of time ("1h") too. */
export const RUN_FILTERS = [
  'shown', 'status', 'outcome', 'agent', 'release', 'customer', 'feature', 'task_type', 'session', 'code',
  'waiting_for', 'since', 'until', 'min_nano', 'root', 'parent', 'q',
] as const;

export type RunFilterName = (typeof RUN_FILTERS)[number];
/** Tags that have no name of their own among the filters: those of one's own, and whom a call was for. */
export const TAG_FILTER = /^tag\.(?:x_\w+|user|key)$/;

/** What the address of the list holds: the filters that are set, and tags such as `tag.x_team`. */
export type RunsSearch = Partial<Record<RunFilterName | `tag.${string}`, string>>;

/** The filters in the query part of an address; what is none is left out. */
export function runsSearch(search: Record<string, unknown>): RunsSearch {
  const tags = Object.keys(search).filter((name) => TAG_FILTER.test(name));
  return pick(search, [...RUN_FILTERS, ...tags]) as RunsSearch;
}

/** The search without one of its filters. */
export function without(search: RunsSearch, name: string): RunsSearch {
  return Object.fromEntries(Object.entries(search).filter(([one]) => one !== name));
}
