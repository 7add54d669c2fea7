import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';

import type { Written } from './model/draft';

const ACCOUNTS = 100;
const WAITING_MAX = 500;

/** The budgets by name, page by page, each with its newest accounts. */
export const budgetsQuery = infiniteQueryOptions({
  queryKey: keys.budgets,
  initialPageParam: null as string | null,
  staleTime: 5_000,
  queryFn: ({ pageParam, signal }) => ask(api.GET('/v1/budgets', { params: { query: pageParam === null ? {} : { cursor: pageParam } }, signal })),
  getNextPageParam: (last) => last.next,
});

/** One budget, with its newest accounts. */
export function budgetQuery(name: string) {
  return queryOptions({
    queryKey: ['budgets', 'one', name],
    staleTime: 5_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/budgets/{name}', { params: { path: { name } }, signal })),
  });
}

/** The accounts of a budget, the newest first. */
export function accountsQuery(name: string) {
  return infiniteQueryOptions({
    queryKey: keys.accounts(name),
    initialPageParam: null as string | null,
    staleTime: 5_000,
    queryFn: ({ pageParam, signal }) => ask(api.GET('/v1/budgets/{name}/accounts', { params: { path: { name }, query: { limit: ACCOUNTS, ...(pageParam === null ? {} : { cursor: pageParam }) } }, signal })),
    getNextPageParam: (last) => last.next,
  });
}

/** What a budget would have stopped in the last seven days. Nothing is set by asking. */
export function previewQuery(written: Written | null) {
  return queryOptions({
    queryKey: ['budget-preview', written],
    enabled: written !== null,
    staleTime: 30_000,
    gcTime: 60_000,
    queryFn: ({ signal }) => ask(api.POST('/v1/budgets/preview', { body: written ?? { match: {}, period: 'month', timezone: 'UTC', nano: 0, tokens: 0, calls: 0, at_end: 'stop' }, signal })),
  });
}

/** The runs that wait for a budget: how many, and whether there may be more than were looked at. */
export function waitingQuery(name: string) {
  return queryOptions({
    queryKey: ['budgets', 'waiting', name],
    staleTime: 5_000,
    queryFn: async ({ signal }) => {
      const page = await ask(api.GET('/v1/runs', { params: { query: { waiting_for: 'budget', limit: WAITING_MAX } }, signal }));
      const runs = page.items.filter((run) => run.waiting.some((one) => one.kind === 'budget' && one.name === name));
      return { runs: runs.length, more: page.next !== null, latest: runs.slice(0, 3).map((run) => run.id) };
    },
  });
}
