import { useCallback, useState } from 'react';

import type { RunLine } from '@/api/schema';
import { useTopic } from '@/app/live/context';
import { changedRuns } from '@/app/live/patch';
import { serverNow } from '@/ui/now';

import { matchesFilter } from './matching';
import type { RunsSearch } from './search';

/** More than this is said as "more than". */
export const COUNTED_MAX = 500;

/**
 * Runs that came since the list was read and that its filter finds: counted, not shown, as rows must not move under
 * the pointer. `rows` is null until the list of this filter has been read. `missed`: the stream was cut in between, so more may have changed.
 */
export function useArrivals(search: RunsSearch, rows: readonly RunLine[] | null): { count: number; missed: boolean; clear: () => void } {
  const place = JSON.stringify(search);
  const [state, setState] = useState<{ place: string; ids: ReadonlySet<string>; missed: boolean }>({ place, ids: new Set(), missed: false });
  useTopic('runs', (messages) => {
    if (rows === null) return;
    const newest = rows[0]?.created_at ?? 0;
    const missed = messages.some((message) => message.event === 'missed');
    const lines = [...changedRuns(messages.filter((message) => message.event !== 'missed')).values()];
    const known = new Set(rows.map((row) => row.id));
    const now = serverNow();
    const fresh = lines.filter((run) => run.created_at >= newest && !known.has(run.id) && matchesFilter(run, search, now));
    if (fresh.length === 0 && !missed) return;
    setState((old) => {
      const base = old.place === place ? old : { ids: new Set<string>(), missed: false };
      const ids = new Set(base.ids);
      for (const run of fresh) if (ids.size <= COUNTED_MAX) ids.add(run.id);
      return { place, ids, missed: base.missed || missed };
    });
  });
  const clear = useCallback(() => setState({ place, ids: new Set(), missed: false }), [place]);
  const here = state.place === place;
  return { count: here ? state.ids.size : 0, missed: here && state.missed, clear };
}
