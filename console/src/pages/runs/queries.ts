import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { RunPage } from '@/api/schema';
import { learnClock, serverNow } from '@/ui/now';

import { toQuery } from './filter';
import type { RunsSearch } from './search';

/** Rows of the first page: enough for a tall screen, so that it comes fast. */
const FIRST = 100;
const PAGE = 500;
/** Rows that are held at once. Browsers stop near 33 million pixels, and memory sooner. */
export const WINDOW = 5_000;

/** Where a page begins. */
export interface Place {
  readonly cursor: string | null;
  /** What "1h" was resolved against: the same for all pages of a window. */
  readonly now: number;
  readonly limit: number;
}

/** One page of the runs that a filter finds. */
export async function pageOf(search: RunsSearch, place: Place, signal: AbortSignal): Promise<RunPage & { readonly now: number }> {
  const now = place.now || serverNow();
  const query = { ...toQuery(search, now), limit: place.limit, ...(place.cursor === null ? {} : { cursor: place.cursor }) };
  const page = await ask(api.GET('/v1/runs', { params: { query }, signal }));
  if (place.cursor === null) learnClock(page.as_of);
  return { ...page, now };
}

/** The runs that a filter finds, newest first, page by page up to a window of 5,000. */
export function runsQuery(search: RunsSearch) {
  return infiniteQueryOptions({
    queryKey: keys.runs(search as Record<string, string>),
    initialPageParam: { cursor: null, now: 0, limit: FIRST } as Place,
    staleTime: Infinity,
    queryFn: ({ pageParam, signal }) => pageOf(search, pageParam, signal),
    getNextPageParam: (last, pages): Place | null => {
      const rows = pages.reduce((sum, page) => sum + page.items.length, 0);
      const limit = Math.min(PAGE, WINDOW - rows);
      return last.next === null || limit <= 0 ? null : { cursor: last.next, now: last.now, limit };
    },
  });
}

/** What the found runs share, and when they were submitted. */
export function facetsQuery(search: RunsSearch) {
  return queryOptions({
    queryKey: keys.facets(search as Record<string, string>),
    staleTime: 15_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/runs/facets', { params: { query: toQuery(search, serverNow()) }, signal })),
  });
}
