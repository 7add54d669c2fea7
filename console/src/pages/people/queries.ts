import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';

const AGAIN_MS = 15_000;
const PAGE = 100;

/** Rights that are handed on now: the caller's; of everybody for whoever manages keys. */
export const delegationsQuery = queryOptions({
  queryKey: keys.delegations,
  refetchInterval: AGAIN_MS,
  staleTime: 2_000,
  queryFn: ({ signal }) => ask(api.GET('/v1/delegations', { signal })),
});

/** What is known of actors, in the order of their names. */
export const peopleQuery = infiniteQueryOptions({
  queryKey: keys.people,
  staleTime: 2_000,
  initialPageParam: '',
  queryFn: ({ pageParam, signal }) => ask(api.GET('/v1/people', { params: { query: { limit: PAGE, after: pageParam } }, signal })),
  getNextPageParam: (last) => last.next,
});
