import { type InfiniteData, QueryClient } from '@tanstack/react-query';
import { describe, expect, it, vi } from 'vitest';

import { keys } from '@/api/keys';
import type { Overview, RunLine, RunPage } from '@/api/schema';

import { patchAll, patchPages } from './patch';
import type { LiveMessage } from './protocol';

const line = (id: string, more: Partial<RunLine> = {}): RunLine => ({ id, shown: 'running', nano: 0, ...more }) as RunLine;
const page = (...items: RunLine[]): RunPage => ({ items, next: null }) as unknown as RunPage;
const message = (topic: string, data: unknown, event = topic): LiveMessage => ({ kind: 'message', topic, event, data });

describe('patching', () => {
  it('puts runs that changed into their places, the latest state of each', () => {
    const client = new QueryClient();
    const key = keys.runs({});
    client.setQueryData(key, { pages: [page(line('a'), line('b')), page(line('c'))], pageParams: [] });
    patchAll(client, [
      message('runs', { changed: [line('b', { shown: 'failed' })] }),
      message('runs', { changed: [line('b', { shown: 'killed' }), line('new')] }),
    ]);
    const data = client.getQueryData<InfiniteData<RunPage>>(key);
    expect(data?.pages.map((one) => one.items.map((run) => `${run.id}:${run.shown}`))).toEqual([['a:running', 'b:killed'], ['c:running']]);
  });

  it('keeps the identity of what did not change', () => {
    const data = { pages: [page(line('a')), page(line('b'))], pageParams: [] };
    const next = patchPages(data, new Map([['b', line('b', { nano: 5 })]]));
    expect(next.pages[0]).toBe(data.pages[0]);
    expect(next.pages[1]).not.toBe(data.pages[1]);
    expect(patchPages(data, new Map([['z', line('z')]]))).toBe(data);
  });

  it('takes the latest overview, and never an older one', () => {
    const client = new QueryClient();
    const overview = (asOf: number): Overview => ({ as_of: asOf, running: asOf }) as Overview;
    patchAll(client, [message('overview', overview(5)), message('overview', overview(7))]);
    expect(client.getQueryData<Overview>(keys.overview)?.running).toBe(7);
    patchAll(client, [message('overview', overview(6))]);
    expect(client.getQueryData<Overview>(keys.overview)?.running).toBe(7);
  });

  it('reads again what was missed, but not the list of runs, whose rows must not move', () => {
    const client = new QueryClient();
    const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue();
    patchAll(client, [message('approvals', null, 'missed'), message('runs', null, 'missed'), message('run:7', null, 'missed')]);
    const asked = invalidate.mock.calls.map(([filter]) => filter?.queryKey);
    expect(asked).toContainEqual(keys.approvals);
    expect(asked).toContainEqual(keys.run('7'));
    expect(asked.flat()).not.toContain('runs');
  });
});
