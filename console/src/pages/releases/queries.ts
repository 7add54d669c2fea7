import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { ReleaseDraft } from '@/api/schema';

const AGAIN_MS = 5_000;
const PAGE = 100;

/** Releases of an agent, or of all, the newest first. */
export function releasesQuery(agent: string | undefined) {
  return infiniteQueryOptions({
    queryKey: [...keys.releases, 'list', agent ?? ''],
    initialPageParam: null as string | null,
    refetchInterval: AGAIN_MS,
    staleTime: 1_000,
    queryFn: ({ pageParam, signal }) =>
      ask(api.GET('/v1/releases', { params: { query: { limit: PAGE, ...(agent === undefined ? {} : { agent }), ...(pageParam === null ? {} : { cursor: pageParam }) } }, signal })),
    getNextPageParam: (last) => last.next,
  });
}

/** One release, with what new runs of its agent get. */
export function releaseQuery(id: string) {
  return queryOptions({
    queryKey: [...keys.releases, 'one', id],
    refetchInterval: AGAIN_MS,
    staleTime: 1_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/releases/{id}', { params: { path: { id } }, signal })),
  });
}

/** What a release has otherwise than `against`; "" = than the one that is live. */
export function diffQuery(id: string, against: string) {
  return queryOptions({
    queryKey: [...keys.releases, 'diff', id, against],
    staleTime: 5_000,
    retry: false,
    queryFn: ({ signal }) =>
      ask(against === '' ? api.GET('/v1/releases/{id}/diff', { params: { path: { id } }, signal }) : api.GET('/v1/releases/{id}/diff', { params: { path: { id: against }, query: { to: id } }, signal })),
  });
}

/** An agent as its code has it on the server, and what its new runs get. */
export function offeredQuery(agent: string) {
  return queryOptions({
    queryKey: [...keys.releases, 'offered', agent],
    staleTime: 60_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/releases/offered', { params: { query: { agent } }, signal })),
  });
}

/** What a draft would have otherwise than `base`; "" = than the code. `text`: the body of a draft, as JSON. */
export function previewQuery(text: string, base: string) {
  return queryOptions({
    queryKey: [...keys.releases, 'preview', base, text],
    staleTime: 60_000,
    gcTime: 10_000,
    retry: false,
    queryFn: ({ signal }) => ask(api.POST('/v1/releases/preview', { body: { ...(JSON.parse(text) as ReleaseDraft), base }, signal })),
  });
}

/** How runs of an agent's releases went that were submitted in the last hours. */
export function numbersQuery(agent: string, hours: number) {
  return queryOptions({
    queryKey: [...keys.releases, 'numbers', agent, hours],
    refetchInterval: AGAIN_MS * 2,
    staleTime: AGAIN_MS,
    queryFn: ({ signal }) => ask(api.GET('/v1/releases/compare', { params: { query: { agent, hours } }, signal })),
  });
}
