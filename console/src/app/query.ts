import { QueryClient } from '@tanstack/react-query';

import { ApiProblem } from '@/api/problem';

/** The cache of what was read. What the stream keeps current is not read again by itself. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        gcTime: 300_000,
        refetchOnWindowFocus: false,
        // A refusal is an answer; only what may pass is asked again.
        retry: (failures, error) => failures < 2 && passing(ApiProblem.of(error)),
      },
      // What changes something is never sent again by itself: it may have happened.
      mutations: { retry: false },
    },
  });
}

function passing(problem: ApiProblem): boolean {
  return problem.code === 'unreachable' || problem.status >= 502;
}
