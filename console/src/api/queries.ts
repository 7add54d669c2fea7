import { queryOptions } from '@tanstack/react-query';

import { api, ask } from './client';
import { keys } from './keys';

/** The state of the platform; the topic `overview` keeps it current. */
export const overviewQuery = queryOptions({
  queryKey: keys.overview,
  queryFn: ({ signal }) => ask(api.GET('/v1/overview', { signal })),
});

/** Questions that wait, the caller's count with them; the topic `approvals` keeps it current. */
export const approvalsQuery = queryOptions({
  queryKey: keys.approvals,
  queryFn: ({ signal }) => ask(api.GET('/v1/approvals', { signal })),
});

/** The agents that are offered. */
export const agentsQuery = queryOptions({
  queryKey: keys.agents,
  staleTime: 300_000,
  queryFn: ({ signal }) => ask(api.GET('/v1/agents', { signal })),
});
