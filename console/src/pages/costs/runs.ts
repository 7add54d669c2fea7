import type { RunsSearch } from '@/pages/runs/search';

import { type CostsSearch, monthStart, onlyOf, rangeOf } from './search';

// By model and by kind of call no runs can be listed: a run has calls of many.
const FILTERS: Readonly<Record<string, keyof RunsSearch>> = {
  customer: 'customer', feature: 'feature', agent: 'agent', task_type: 'task_type', release: 'release', user: 'tag.user',
};

/** The list of the runs that a sum is of; null where the list has no such filter. */
export function runsOf(groups: readonly string[], values: readonly string[], search: CostsSearch, now: number): RunsSearch | null {
  const wanted = [...Object.entries(onlyOf(search)), ...groups.map((group, i) => [group, values[i] ?? ''] as const)];
  const out: Record<string, string> = {};
  for (const [group, value] of wanted) {
    const filter = group.startsWith('tag.') ? group : FILTERS[group];
    if (filter === undefined || value === '' || value === '*') return null;
    out[filter] = value;
  }
  const range = rangeOf(search);
  return { ...out, since: range === 'month' ? String(monthStart(now)) : range };
}
