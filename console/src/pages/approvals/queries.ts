import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';

/** Looking at a question is told to others who look, for half a minute: asked again in time for that. */
const LOOKED_MS = 12_000;

/** One question with what a person needs. `behalf`: whose right, handed to the caller, it would be decided by. The topic `approvals` keeps it current. */
export function approvalQuery(id: string, behalf = '') {
  return queryOptions({
    queryKey: [...keys.approval(id), behalf],
    queryFn: ({ signal }) => ask(api.GET('/v1/approvals/{id}', { params: { path: { id }, ...(behalf === '' ? {} : { query: { behalf } }) }, signal })),
    staleTime: 0,
    // Asked until it has been decided or withdrawn: after that it is asked for no more.
    refetchInterval: (query) => (query.state.status === 'error' ? false : LOOKED_MS),
  });
}

/** Questions of one group with their arguments. The topic `approvals` keeps it current. */
export function alikeQuery(group: string) {
  return queryOptions({
    queryKey: [...keys.approvals, 'alike', group],
    queryFn: ({ signal }) => ask(api.GET('/v1/approvals/alike', { params: { query: { group } }, signal })),
    staleTime: 2_000,
  });
}

/** Runs that people may take into their own hands, and who has. */
export const casesQuery = queryOptions({
  queryKey: keys.cases,
  queryFn: ({ signal }) => ask(api.GET('/v1/cases', { params: { query: { limit: 500 } }, signal })),
  staleTime: 2_000,
  refetchInterval: LOOKED_MS,
});
