import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useReducer } from 'react';

import { api, ask as call } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { ControlAsked } from '@/api/schema';

import { againSeconds, type Asking, IDLE, newKey, step } from './model/asking';

interface AskingHandle {
  readonly asking: Asking;
  readonly ask: (asked: ControlAsked) => void;
  readonly again: () => void;
  readonly reset: () => void;
}

/** Asks for a stop under one key until there is an answer, then goes to its page. */
export function useAsking(): AskingHandle {
  const [asking, send] = useReducer(step, IDLE);
  const client = useQueryClient();
  const navigate = useNavigate();
  useEffect(() => {
    if (asking.kind === 'asking') {
      call(api.POST('/v1/controls', { params: { header: { 'Idempotency-Key': asking.key } }, body: asking.asked })).then(
        (control) => {
          client.setQueryData(keys.control(control.id), control);
          void client.invalidateQueries({ queryKey: keys.controls });
          send({ kind: 'answered', id: control.id });
          void navigate({ to: '/controls/{-$id}', params: { id: control.id }, search: {} });
        },
        (error: unknown) => send({ kind: 'failed', problem: ApiProblem.of(error) }),
      );
    }
    if (asking.kind !== 'unsure') return undefined;
    const timer = setTimeout(() => send({ kind: 'again' }), againSeconds(asking.tries) * 1000);
    return () => clearTimeout(timer);
  }, [asking, client, navigate]);
  return {
    asking,
    ask: (asked) => send({ kind: 'ask', key: newKey(), asked }),
    again: () => send({ kind: 'again' }),
    reset: () => send({ kind: 'reset' }),
  };
}
