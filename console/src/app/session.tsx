import { queryOptions, useSuspenseQuery } from '@tanstack/react-query';
import { useCallback } from 'react';

import { api, ask, setCsrf } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { Me } from '@/api/schema';

/** The caller, or null when nobody is signed in. */
export const meQuery = queryOptions({
  queryKey: keys.me,
  staleTime: Infinity,
  gcTime: Infinity,
  queryFn: async ({ signal }): Promise<Me | null> => {
    try {
      const me = await ask(api.GET('/v1/me', { signal }));
      setCsrf(me.csrf);
      return me;
    } catch (error) {
      if (ApiProblem.of(error).status === 401) return null;
      throw error;
    }
  },
});

/** The caller. Only below the signed-in part of the router. */
export function useMe(): Me {
  const { data } = useSuspenseQuery(meQuery);
  if (data === null) throw new ApiProblem({ status: 401, code: 'signed_out', title: 'You are signed out.', hint: 'Sign in again.' });
  return data;
}

/** Whether the caller has a right: `useCan()('runs:steer')`. */
export function useCan(): (permission: string) => boolean {
  const me = useMe();
  return useCallback((permission: string) => me.permissions.includes(permission), [me]);
}

/** Ends the session. The page is loaded anew, so that nothing that was read under it stays in memory. */
export function useSignOut(): () => Promise<void> {
  return useCallback(async () => {
    await ask(api.POST('/v1/sign-out'));
    globalThis.location.assign('/sign-in');
  }, []);
}
