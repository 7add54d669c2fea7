import { useNavigate, useSearch } from '@tanstack/react-router';
import { useCallback } from 'react';

import { AXES, type AxisMode } from './model/axis';

/** What the address of the run page holds. */
export interface Place {
  readonly span: string | undefined;
  readonly at: string | undefined;
  readonly axis: AxisMode;
  readonly filter: string;
}

/** The place that the address says, and how to go to another: without a new entry in the history. */
export function usePlace(): { place: Place; go: (change: Partial<Record<'span' | 'at' | 'axis' | 'filter', string | undefined>>) => void } {
  const search = useSearch({ from: '/inside/runs/$id' });
  const navigate = useNavigate({ from: '/runs/$id' });
  const go = useCallback(
    (change: Partial<Record<'span' | 'at' | 'axis' | 'filter', string | undefined>>) =>
      void navigate({
        search: (old) => Object.fromEntries(Object.entries({ ...old, ...change }).filter(([, value]) => value)),
        replace: true,
        resetScroll: false,
      }),
    [navigate],
  );
  const axis = AXES.find((one) => one === search.axis) ?? 'time';
  return { place: { span: search.span, at: search.at, axis, filter: search.filter ?? '' }, go };
}
