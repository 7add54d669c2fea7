import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { Costs } from '@/api/schema';
import { learnClock, serverNow } from '@/ui/now';

import { type CostsSearch, filterOf, groupsOf, monthStart, rangeOf, sinceOf } from './search';

/** The parameters of /v1/costs for an address. */
export function costsAsked(search: CostsSearch, now: number) {
  return { by: groupsOf(search).join(','), since: sinceOf(search, now), ...filterOf(search) };
}

async function read(query: ReturnType<typeof costsAsked>, signal: AbortSignal): Promise<Costs> {
  const costs = await ask(api.GET('/v1/costs', { params: { query }, signal }));
  learnClock(costs.as_of);
  return costs;
}

/** What was spent. Read again by `useSpending` when the overview says that more was. */
export function costsQuery(search: CostsSearch) {
  const { by: _by, range, sort: _sort, explain: _, explain_feature: __, ...only } = search;
  return queryOptions({
    queryKey: keys.costs({ ...only, by: groupsOf(search).join(','), range }),
    staleTime: 5_000,
    queryFn: ({ signal }) => read(costsAsked(search, serverNow()), signal),
  });
}

/** What was spent this month so far, by what was paid for. */
export function monthQuery(search: CostsSearch) {
  const filter = filterOf(search);
  return queryOptions({
    queryKey: ['costs', 'month', filter],
    staleTime: 5_000,
    queryFn: ({ signal }) => read({ by: 'kind', since: monthStart(serverNow()), ...filter }, signal),
  });
}

/** Why a customer costs what it costs. Its records are read for that, so it is asked for once and kept. */
export function explainedQuery(search: CostsSearch) {
  const { explain: customer = '', explain_feature: feature = '' } = search;
  return queryOptions({
    queryKey: ['costs-explained', customer, feature, rangeOf(search)],
    staleTime: 60_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/costs/explain', { params: { query: { customer, feature, since: sinceOf(search, serverNow()) } }, signal })),
  });
}

/** What calls would have cost at prices that were corrected since. */
export const rerateQuery = queryOptions({
  queryKey: ['costs-rerated'],
  staleTime: 60_000,
  queryFn: ({ signal }) => ask(api.GET('/v1/costs/rerates', { signal })),
});

/** What the cache has saved, and how much of the prompts came from the providers' own. */
export function savingsQuery(search: CostsSearch) {
  return queryOptions({
    queryKey: ['costs', 'savings', rangeOf(search)],
    staleTime: 30_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/cache', { params: { query: { since: sinceOf(search, serverNow()) } }, signal })),
  });
}

/** Where the sums by hour are to be had, for a program or a FinOps tool. */
export function exportAddress(search: CostsSearch, format: 'csv' | 'focus'): string {
  return `/v1/costs/export?${paramsOf({ format, since: sinceOf(search, serverNow()), ...filterOf(search) })}`;
}

/** Where the table is to be had as comma-separated values. */
export function csvAddress(search: CostsSearch): string {
  return `/v1/costs.csv?${paramsOf(costsAsked(search, serverNow()))}`;
}

export function paramsOf(asked: Readonly<Record<string, string | number | readonly string[]>>): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const one of Array.isArray(value) ? (value as string[]) : [String(value)]) params.append(name, one);
  }
  return params;
}
