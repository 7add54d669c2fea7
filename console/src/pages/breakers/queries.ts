import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';

/** A trip is seen by every worker within a second; so it is here. */
const AGAIN_MS = 2_000;

/** All breakers and how they stand. */
export const breakersQuery = infiniteQueryOptions({
  queryKey: [...keys.breakers, 'list'],
  initialPageParam: null as string | null,
  refetchInterval: AGAIN_MS,
  staleTime: 1_000,
  queryFn: ({ pageParam, signal }) => ask(api.GET('/v1/breakers', { params: { query: pageParam === null ? {} : { cursor: pageParam } }, signal })),
  getNextPageParam: (last) => last.next,
});

/** One breaker with its circuits. */
export function breakerQuery(name: string) {
  return queryOptions({
    queryKey: [...keys.breakers, 'one', name],
    refetchInterval: AGAIN_MS,
    staleTime: 1_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/breakers/{name}', { params: { path: { name } }, signal })),
  });
}

/** Each time that a breaker was opened, the newest first. */
export function tripsQuery(name: string) {
  return infiniteQueryOptions({
    queryKey: [...keys.breakers, 'trips', name],
    initialPageParam: null as string | null,
    staleTime: 5_000,
    queryFn: ({ pageParam, signal }) => ask(api.GET('/v1/breakers/{name}/trips', { params: { path: { name }, query: pageParam === null ? {} : { cursor: pageParam } }, signal })),
    getNextPageParam: (last) => last.next,
  });
}
