import { useQueryClient } from '@tanstack/react-query';
import { type Dispatch, useEffect, useReducer, useRef } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { ApprovalShown } from '@/api/schema';
import { useMe } from '@/app/session';
import { serverNow } from '@/ui/now';

import { type Event, LOOKING, said, type State, step, TAKE_BACK_MS } from './model/decide';

/** How long until a decision that got no answer is sent again: the same one, which counts once. */
const AGAIN_MS = 3_000;

/**
 * The decision on the question that is shown. `problem` is why the question could not be read again: decided, withdrawn.
 * What is sent is bound to what was on the screen when the key was pressed. `behalf`: whose right it is decided by.
 */
export function useDecision(approval: ApprovalShown, problem: unknown, behalf: string): { state: State; send: Dispatch<Event> } {
  const [state, send] = useReducer(step, LOOKING);
  const me = useMe().actor;
  const client = useQueryClient();
  const since = useRef(0);
  const what = said(approval);
  const before = useRef(what);
  useEffect(() => {
    if (since.current === 0) since.current = performance.now();
    if (before.current === what) return;
    before.current = what;
    since.current = performance.now();
    send({ kind: 'changed' });
  }, [what]);

  useEffect(() => {
    const known = problem === null || problem === undefined ? null : ApiProblem.of(problem);
    if (known && known.status >= 400 && known.status < 500 && known.status !== 429) send({ kind: 'gone', problem: known });
  }, [problem]);

  useEffect(() => {
    if (approval.expires === 0) return undefined;
    // Longer than this a timer cannot wait (2^31 ms), and by then the page has been loaded anew.
    const left = Math.min(2_000_000_000, (approval.expires - serverNow()) / 1000);
    const timer = setTimeout(() => send({ kind: 'expired' }), Math.max(0, left));
    return () => clearTimeout(timer);
  }, [approval.expires]);

  useEffect(() => {
    if (state.kind !== 'sending') return undefined;
    const left = state.since + TAKE_BACK_MS - performance.now();
    const timer = setTimeout(() => send({ kind: 'due', at: performance.now() }), Math.max(0, left) + 1);
    return () => clearTimeout(timer);
  }, [state]);

  useEffect(() => {
    if (state.kind !== 'unsure') return undefined;
    const timer = setTimeout(() => send({ kind: 'again' }), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [state]);

  const bound = useRef(approval);
  useEffect(() => {
    if (state.kind === 'sending') bound.current = approval;
    // What was bound when the countdown began is what is sent: a change in between has ended it.
    // eslint-disable-next-line react-hooks/exhaustive-deps -- not when the question is read again
  }, [state]);
  useEffect(() => {
    if (state.kind !== 'posting') return;
    const { id, digest, version } = bound.current;
    const seconds = Math.round((performance.now() - since.current) / 100) / 10;
    const body = { decision: state.choice, digest, version, reason: state.reason, seen_seconds: seconds, behalf, args: state.args, together: 0 };
    ask(api.POST('/v1/approvals/{id}/decision', { params: { path: { id } }, body })).then(
      (taken) => {
        void client.invalidateQueries({ queryKey: keys.approvals });
        send({ kind: 'taken', actor: taken.actor, at: taken.at, missing: taken.counts ? 0 : taken.missing });
      },
      (error: unknown) => send({ kind: 'refused', problem: ApiProblem.of(error), me }),
    );
  }, [state, client, me, behalf]);
  return { state, send };
}
