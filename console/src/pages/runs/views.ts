import { useCallback, useSyncExternalStore } from 'react';

import { runsSearch, type RunsSearch } from './search';

/** A filter with a name. */
export interface View {
  readonly name: string;
  readonly search: RunsSearch;
}

/** Views that everybody has. */
export const GIVEN: readonly View[] = [
  { name: 'All', search: {} },
  { name: 'Failed, last hour', search: { outcome: 'failed', since: '1h' } },
  { name: 'Waiting for a person', search: { shown: 'waiting_approval' } },
  { name: 'In doubt', search: { shown: 'in_doubt' } },
  { name: 'Running now', search: { status: 'running' } },
  { name: 'Over $0.10 today', search: { min_nano: '100000000', since: '1d' } },
];

const MOST = 50;
const CHANGED = 'penstock-views';
const keyOf = (tenant: string): string => `penstock-views-${tenant}`;

/** Views of a stored text; whatever is not one is left out. */
export function readViews(text: string | null): View[] {
  try {
    const stored: unknown = JSON.parse(text ?? '[]');
    if (!Array.isArray(stored)) return [];
    return stored
      .filter((one): one is { name: string; search: object } => typeof one?.name === 'string' && typeof one.search === 'object' && one.search !== null)
      .map((one) => ({ name: one.name.slice(0, 80), search: runsSearch(one.search as Record<string, unknown>) }))
      .slice(0, MOST);
  } catch {
    return [];
  }
}

/** The views that were saved in this browser for a tenant. */
export function useViews(tenant: string): { views: View[]; save: (view: View) => void; drop: (name: string) => void } {
  const key = keyOf(tenant);
  const text = useSyncExternalStore(
    useCallback((listener: () => void) => {
      globalThis.addEventListener('storage', listener);
      globalThis.addEventListener(CHANGED, listener);
      return () => {
        globalThis.removeEventListener('storage', listener);
        globalThis.removeEventListener(CHANGED, listener);
      };
    }, []),
    () => localStorage.getItem(key),
  );
  const views = readViews(text);
  const write = (next: readonly View[]): void => {
    localStorage.setItem(key, JSON.stringify(next.slice(-MOST)));
    globalThis.dispatchEvent(new Event(CHANGED));
  };
  return {
    views,
    save: (view) => write([...views.filter((one) => one.name !== view.name), view]),
    drop: (name) => write(views.filter((one) => one.name !== name)),
  };
}
