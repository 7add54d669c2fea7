import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';

import { overviewQuery } from '@/api/queries';
import { useTopic } from '@/app/live/context';

const AGAIN_MS = 1_000;
/** Of the time between two reads, at most this part is spent reading. */
const SHARE = 4;

/**
 * Reads what was spent again while the overview says that more is: at most once a second, slower where it takes long.
 * `queryKey` is one of the module's, not made anew.
 */
export function useSpending(queryKey: readonly string[]): void {
  const client = useQueryClient();
  useTopic('overview');
  const spent = useQuery({ ...overviewQuery, enabled: false }).data?.spent_today.nano;
  const last = useRef<{ spent?: number; at: number; took: number }>({ at: 0, took: 0 });
  useEffect(() => {
    const state = last.current;
    // The page's own read may have begun before what the overview already counts: once, it is read after that.
    state.at ||= Date.now();
    if (spent === undefined || spent === state.spent) return undefined;
    const wait = Math.max(0, state.at + Math.max(AGAIN_MS, SHARE * state.took) - Date.now());
    const timer = setTimeout(() => {
      // Nobody looks: it is read again with the first change after somebody does.
      if (document.hidden) return;
      state.spent = spent;
      state.at = Date.now();
      void client.invalidateQueries({ queryKey }).then(() => (state.took = Date.now() - state.at));
    }, wait);
    return () => clearTimeout(timer);
  }, [client, queryKey, spent]);
}
