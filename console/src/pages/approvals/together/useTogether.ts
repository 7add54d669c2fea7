import { useQueryClient } from '@tanstack/react-query';
import { type Dispatch, useEffect, useReducer, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { ApprovalAlike } from '@/api/schema';
import { useMe } from '@/app/session';

import { TAKE_BACK_MS } from '../model/decide';
import { type Event, LOOKING, type Result, resultOf, type State, step, stillThere } from '../model/together';
import { ticks } from '../useAttention';

/** How long until a decision that got no answer is sent again: the same one, which counts once. */
const AGAIN_MS = 1_500;

export interface Together {
  readonly state: State;
  readonly send: Dispatch<Event>;
  readonly results: ReadonlyMap<string, Result>;
}

/** Decides on several questions, one request each, one after the other; leaving the page ends it after the one under way. */
export function useTogether(items: readonly ApprovalAlike[] | undefined): Together {
  const [state, send] = useReducer(step, LOOKING);
  const [results, setResults] = useState<ReadonlyMap<string, Result>>(new Map());
  const me = useMe().actor;
  const client = useQueryClient();
  const shownAt = useRef(0);
  useEffect(() => {
    shownAt.current = performance.now();
  }, []);

  useEffect(() => {
    if (items && 'bound' in state && !stillThere(state.bound, items)) send({ kind: 'changed' });
  }, [items, state]);

  useEffect(() => {
    if (state.kind !== 'sending') return undefined;
    const timer = setTimeout(() => send({ kind: 'due', at: ticks() }), Math.max(0, state.since + TAKE_BACK_MS - ticks()) + 1);
    return () => clearTimeout(timer);
  }, [state]);

  const posting = state.kind === 'posting' ? state : null;
  const one = posting?.bound[posting.at];
  const tries = posting?.tries ?? 0;
  const latest = useRef(state);
  useEffect(() => {
    latest.current = state;
  });
  useEffect(() => {
    const { current } = latest;
    if (!one || current.kind !== 'posting') return undefined;
    const { answer, reason, bound } = current;
    let here = true;
    const came = (result: Result): void => {
      if (!here) return;
      setResults((old) => new Map(old).set(one.id, result));
      send({ kind: 'came', id: one.id, unsure: result.kind === 'unsure' });
    };
    const body = {
      decision: answer, digest: one.digest, version: one.version, reason, behalf: '', args: null, together: bound.length,
      seen_seconds: Math.round((performance.now() - shownAt.current) / 100) / 10,
    };
    const timer = setTimeout(() => {
      ask(api.POST('/v1/approvals/{id}/decision', { params: { path: { id: one.id } }, body })).then(
        (taken) => came({ kind: 'done', answer, missing: taken.counts ? 0 : taken.missing }),
        (error: unknown) => came(resultOf(ApiProblem.of(error), me, answer)),
      );
    }, tries === 0 ? 0 : AGAIN_MS);
    return () => {
      here = false;
      clearTimeout(timer);
    };
  }, [one, tries, me]);

  const over = state.kind === 'over';
  useEffect(() => {
    if (over) void client.invalidateQueries({ queryKey: keys.approvals });
  }, [over, client]);
  return { state, send, results };
}
