import { type InfiniteData, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';

import type { RunLine, RunPage } from '@/api/schema';
import { useLive } from '@/app/live/context';
import { patchPages } from '@/app/live/patch';

import { pageOf, type Place, runsQuery } from './queries';
import type { RunsSearch } from './search';

/** How often rows in view that may still change are read again. */
const EVERY_MS = 5_000;
/** The stream tells of the newest runs; these rows need no more than that. */
const TOLD = 100;

/** The pages whose rows in view (from `first` to `last`) may change without the stream telling. */
export function pagesToFreshen(pages: readonly { readonly items: readonly RunLine[] }[], first: number, last: number): number[] {
  const found: number[] = [];
  let start = 0;
  for (const [i, page] of pages.entries()) {
    const from = Math.max(first, TOLD) - start;
    const to = last - start;
    if (page.items.slice(Math.max(0, from), Math.max(0, to + 1)).some((run) => run.ended_at === null)) found.push(i);
    start += page.items.length;
  }
  return found;
}

/**
 * Keeps rows in view current that are too old for the stream's topic: what it reads again is put into the places that
 * the rows have, so nothing moves.
 */
export function useFreshen(search: RunsSearch): (first: number, last: number) => void {
  const client = useQueryClient();
  const live = useLive().state === 'live';
  const { queryKey } = runsQuery(search);
  const place = JSON.stringify(queryKey);
  const range = useRange();
  useEffect(() => {
    if (!live) return undefined;
    const again = async (): Promise<void> => {
      const data = client.getQueryData<InfiniteData<RunPage, Place>>(queryKey);
      if (!data || document.hidden) return;
      for (const i of pagesToFreshen(data.pages, range.first, range.last)) {
        const param = data.pageParams[i];
        if (!param) continue;
        const page = await pageOf(search, param, new AbortController().signal).catch(() => null);
        const lines = new Map(page?.items.map((run) => [run.id, run]));
        client.setQueryData<InfiniteData<RunPage, Place>>(queryKey, (old) => old && patchPages(old, lines));
      }
    };
    const timer = setInterval(() => void again(), EVERY_MS);
    return () => clearInterval(timer);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `place` stands for queryKey and search
  }, [client, live, place, range]);
  return useCallback((first, last) => range.set(first, last), [range]);
}

class Range {
  first = 0;
  last = 0;

  set(first: number, last: number): void {
    this.first = first;
    this.last = last;
  }
}

const useRange = (): Range => useState(() => new Range())[0];
