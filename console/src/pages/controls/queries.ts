import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { ControlAsked } from '@/api/schema';

import { settled } from './model/scope';

/** A preview is asked for again when it is as old as this. */
export const PREVIEW_MS = 5_000;
const FOLLOW_MS = 1_000;

/** Controls, those in force first. */
export const controlsQuery = queryOptions({
  queryKey: keys.controls,
  queryFn: ({ signal }) => ask(api.GET('/v1/controls', { signal })),
});

/** How far a stop has come: once a second until nothing moves. */
export function controlQuery(id: string) {
  return queryOptions({
    queryKey: keys.control(id),
    queryFn: ({ signal }) => ask(api.GET('/v1/controls/{id}', { params: { path: { id } }, signal })),
    refetchInterval: ({ state }) => (state.data && settled(state.data) ? false : FOLLOW_MS),
  });
}

/** What an action would reach, as of now; kept fresh while it is looked at. */
export function previewQuery(asked: Pick<ControlAsked, 'scope' | 'action'>, enabled: boolean) {
  return queryOptions({
    queryKey: ['control-preview', asked.scope.kind, asked.scope.name, asked.action],
    queryFn: ({ signal }) => ask(api.POST('/v1/controls/preview', { body: { ...asked, reason: '', armed: '' }, signal })),
    enabled,
    staleTime: 0,
    gcTime: 0,
    refetchInterval: PREVIEW_MS,
  });
}
