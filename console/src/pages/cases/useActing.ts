import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { useAnnounce } from '@/app/announce';

const HELD_SECONDS = 3600;

export type Act = 'assign' | 'take over' | 'hand back' | 'put aside';

/** What is being done with a case. Nothing is shown as done before the server has said so. */
export interface Acting {
  readonly act: Act | null;
  readonly begin: (act: Act | null) => void;
  readonly claim: (over: boolean, reason: string) => void;
  readonly handBack: (note: string, close: boolean) => void;
  readonly assign: (to: string, due: number) => void;
  readonly pending: boolean;
  readonly error: unknown;
}

/** Takes, hands back and assigns the case of a run. */
export function useActing(run: string): Acting {
  const [act, begin] = useState<Act | null>(null);
  const client = useQueryClient();
  const { assertive } = useAnnounce();
  const params = { path: { run } };
  const settled = (words: string) => ({
    onSuccess: () => {
      begin(null);
      assertive(words);
    },
    onSettled: () => Promise.all([client.invalidateQueries({ queryKey: keys.cases }), client.invalidateQueries({ queryKey: keys.approvals })]),
  });
  const claim = useMutation({
    mutationFn: ({ over, reason }: { over: boolean; reason: string }) => ask(api.POST('/v1/cases/{run}/claim', { params, body: { seconds: HELD_SECONDS, take_over: over, reason } })),
    ...settled('The case is yours.'),
  });
  const back = useMutation({
    mutationFn: ({ note, close }: { note: string; close: boolean }) => ask(api.POST('/v1/cases/{run}/hand-back', { params, body: { note, close } })),
    ...settled('The case is handed back.'),
  });
  const give = useMutation({
    mutationFn: (body: { to: string; due: number }) => ask(api.POST('/v1/cases/{run}/assign', { params, body })),
    ...settled('The case is assigned.'),
  });
  return {
    act,
    begin: (one) => {
      for (const each of [claim, back, give]) each.reset();
      begin(one);
    },
    claim: (over, reason) => claim.mutate({ over, reason }),
    handBack: (note, close) => back.mutate({ note, close }),
    assign: (to, due) => give.mutate({ to, due }),
    pending: claim.isPending || back.isPending || give.isPending,
    error: claim.error ?? back.error ?? give.error,
  };
}
