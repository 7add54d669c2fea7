import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { learnClock, serverNow } from '@/ui/now';

import { type CostsSearch, groupOf, onlyOf, RANGES, rangeOf } from './search';

/** The parameters of /v1/costs for an address. */
export function costsAsked(search: CostsSearch, now: number) {
  return { by: groupOf(search), since: Math.round(now - RANGES[rangeOf(search)]), ...onlyOf(search) };
}

/** What was spent. Read again by the page when the overview says that more was. */
export function costsQuery(search: CostsSearch) {
  const { sort: _, ...asked } = search;
  return queryOptions({
    queryKey: keys.costs(asked),
    staleTime: 5_000,
    queryFn: async ({ signal }) => {
      const costs = await ask(api.GET('/v1/costs', { params: { query: costsAsked(search, serverNow()) }, signal }));
      learnClock(costs.as_of);
      return costs;
    },
  });
}

/** Where the same is to be had as comma-separated values. */
export function csvAddress(search: CostsSearch): string {
  const params = new URLSearchParams(Object.entries(costsAsked(search, serverNow())).map(([name, value]) => [name, String(value)]));
  return `/v1/costs.csv?${params}`;
}
