import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { PolicyChecked, PolicyText } from '@/api/schema';

/** A changed file is in force within a second; here it is seen within five. */
const AGAIN_MS = 5_000;

/** The policy that calls are held to. */
export const policyQuery = queryOptions({
  queryKey: keys.policies,
  refetchInterval: AGAIN_MS,
  staleTime: 1_000,
  queryFn: ({ signal }) => ask(api.GET('/v1/policies', { signal })),
});

/** Looks at a text. Nothing of it comes into force. */
export const check = (body: PolicyText): Promise<PolicyChecked> => ask(api.POST('/v1/policies/check', { body }));
