import { describe, expect, it } from 'vitest';

import type { Facets, RunLine } from '@/api/schema';

import { pagesToFreshen } from './freshen';
import { fewer } from './Histogram';
import { formatFilter, moment, parseFilter, toQuery } from './filter';
import { matchesFilter } from './matching';
import { type RunsSearch, runsSearch } from './search';
import { sharesOf } from './shares';
import { readViews } from './views';

const NOW = 1_700_000_000_000_000;

describe('the language of filters', () => {
  it.each<[string, RunsSearch]>([
    ['outcome:failed agent:support-desk since:1h', { outcome: 'failed', agent: 'support-desk', since: '1h' }],
    ['session:"a b" 0199f2', { session: 'a b', q: '0199f2' }],
    ['cost:>0.05', { min_nano: '50000000' }],
    ['cost:$1.5', { min_nano: '1500000000' }],
    ['type:refund waiting:approval is:retrying', { task_type: 'refund', waiting_for: 'approval', shown: 'retrying' }],
    ['tag.x_team:billing', { 'tag.x_team': 'billing' }],
    ['agent:a agent:b', { agent: 'b' }],
    ['  ', {}],
    ['agent:', {}],
  ])('%s', (text, search) => expect(parseFilter(text)).toEqual({ search, wrong: [] }));

  it.each(['colour:red', 'cost:cheap', 'since:yesterday', 'until:2026-13-45', 'constructor:x', 'tag.y:1'])('says what is wrong with %s', (text) => {
    const { search, wrong } = parseFilter(text);
    expect(wrong).toHaveLength(1);
    expect(wrong[0]).toContain(text);
    expect(Object.keys(search)).toEqual([]);
  });

  it('writes what it reads', () => {
    const search: RunsSearch = { outcome: 'failed', session: 'a b', min_nano: '50000000', since: '2026-11-21T14:00', 'tag.x_team': 'billing', q: '0199f2' };
    expect(parseFilter(formatFilter(search))).toEqual({ search, wrong: [] });
  });

  it('knows moments', () => {
    expect(moment('1h', NOW)).toBe(NOW - 3600e6);
    expect(moment('7d', NOW)).toBe(NOW - 7 * 86_400e6);
    expect(moment(String(NOW), 0)).toBe(NOW);
    expect(moment('2026-11-21T14:00', 0)).toBe(new Date(2026, 10, 21, 14).getTime() * 1000);
    expect(moment('2026-02', 0)).toBeNull();
  });

  it('asks the server for moments, never for words', () => {
    expect(toQuery({ since: '1h', until: 'nonsense', agent: 'a' }, NOW)).toEqual({ since: String(NOW - 3600e6), agent: 'a' });
  });
});

describe('the address of the list', () => {
  it('keeps filters and own tags, and nothing else', () => {
    expect(runsSearch({ agent: 'a', 'tag.x_team': 'b', 'tag.y': 'c', foo: 'd', outcome: '' })).toEqual({ agent: 'a', 'tag.x_team': 'b' });
  });
});

describe('runs of the stream', () => {
  const run = {
    id: '1', agent: 'a', release: 'r1', shown: 'failed', status: 'ended', outcome: 'failed', code: 'loop', session: 's', nano: 5,
    created_at: NOW, tags: { customer: 'acme', x_team: 'b' }, waiting: [{ kind: 'timer' }], root: '1', parent: null,
  } as unknown as RunLine;

  it.each<[RunsSearch, boolean]>([
    [{}, true],
    [{ agent: 'a', outcome: 'failed', customer: 'acme', 'tag.x_team': 'b', waiting_for: 'timer' }, true],
    [{ agent: 'b' }, false],
    [{ customer: 'beta' }, false],
    [{ 'tag.x_team': 'c' }, false],
    [{ min_nano: '6' }, false],
    [{ since: '1h' }, true],
    [{ since: String(NOW + 1) }, false],
    [{ until: String(NOW - 1) }, false],
    [{ waiting_for: 'approval' }, false],
    [{ parent: '9' }, false],
    [{ q: 'whatever' }, true],
  ])('%j finds it: %s', (search, found) => expect(matchesFilter(run, search, NOW)).toBe(found));
});

describe('what runs share', () => {
  const facet = (value: string, count: number, share: number, elsewhere: number) => ({ value, count, share, elsewhere });
  const facets = {
    found: 9, others: 90, sampled: false, histogram: [],
    release: [facet('r41', 9, 1, 0.12), facet('r40', 1, 0.1, 0)],
    customer: [facet('acme', 5, 0.55, 0.5)],
    agent: [facet('support-desk', 9, 1, 0.9)],
    code: [facet('loop', 7, 0.77, 0.1)],
    feature: [], task_type: [], outcome: [facet('failed', 9, 1, 0)],
  } as Facets;

  it('is what the others have less often, most apart first', () => {
    expect(sharesOf(facets, { outcome: 'failed' }).map((share) => share.value)).toEqual(['r41', 'loop']);
  });

  it('is nothing where there are no others', () => expect(sharesOf({ ...facets, others: 0 }, { outcome: 'failed' })).toEqual([]));

  it('is not what one of them has alone, nor the outcome again under the name of a code', () => {
    const one = { count: 1, share: 1, elsewhere: 0 };
    const said = { ...facets, customer: [{ value: 'acme', ...one }], code: [{ value: 'escalated', count: 3, share: 1, elsewhere: 0 }], release: [], outcome: [] };
    expect(sharesOf(said, { outcome: 'escalated' })).toEqual([]);
    expect(sharesOf(said, { agent: 'x' }).map((share) => share.value)).toEqual(['escalated']);
  });

  it('is not what was asked for', () => {
    expect(sharesOf(facets, { outcome: 'failed', release: 'r41' }).map((share) => share.value)).toEqual(['loop']);
  });
});

describe('saved views', () => {
  it('survive a storage that others wrote', () => {
    const good = { name: 'Mine', search: { agent: 'a', evil: 'x' } };
    const text = JSON.stringify([good, null, 7, { name: 3, search: {} }, { name: 'x' }]);
    expect(readViews(text)).toEqual([{ name: 'Mine', search: { agent: 'a' } }]);
    expect(readViews('{broken')).toEqual([]);
    expect(readViews('{"a":1}')).toEqual([]);
    expect(readViews(null)).toEqual([]);
  });
});

describe('rows that are read again', () => {
  const run = (n: number) => ({ id: String(n), ended_at: n % 300 === 0 ? null : 1 }) as unknown as RunLine;
  const rows = Array.from({ length: 1_100 }, (_, n) => run(n));
  const pages = [{ items: rows.slice(0, 100) }, { items: rows.slice(100, 600) }, { items: rows.slice(600) }];

  it('are those in view that have not ended and of which the stream does not tell', () => {
    expect(pagesToFreshen(pages, 0, 60)).toEqual([]);
    expect(pagesToFreshen(pages, 280, 320)).toEqual([1]);
    expect(pagesToFreshen(pages, 301, 320)).toEqual([]);
    expect(pagesToFreshen(pages, 290, 610)).toEqual([1, 2]);
    expect(pagesToFreshen(pages, 1_090, 5_000)).toEqual([]);
    expect(pagesToFreshen([], 0, 50)).toEqual([]);
  });
});

describe('bins that are put together', () => {
  const bins = Array.from({ length: 7 }, (_, i) => ({ at: i * 10, width: 10, counts: { failed: i, [`k${i}`]: 1 } }));

  it('are few enough, and lose neither time nor runs', () => {
    const few = fewer(bins, 3);
    expect(few.map(({ at, width }) => [at, width])).toEqual([[0, 30], [30, 30], [60, 10]]);
    expect(few.map((bin) => bin.counts['failed'])).toEqual([0 + 1 + 2, 3 + 4 + 5, 6]);
    expect(fewer(bins, 7)).toEqual(bins);
    expect(fewer(bins, 0)).toHaveLength(1);
    expect(fewer([], 5)).toEqual([]);
  });

  it('leaves room for the time in which nothing was submitted', () => {
    const burst = [{ at: 0, width: 10, counts: { failed: 2 } }, { at: 80, width: 10, counts: { failed: 1 } }];
    const bins = fewer(burst, 20);
    expect(bins.map((bin) => bin.at)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80]);
    expect(bins.map((bin) => bin.counts['failed'] ?? 0)).toEqual([2, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect(fewer(burst, 3).map(({ at, counts }) => [at, counts['failed'] ?? 0])).toEqual([[0, 2], [30, 0], [60, 1]]);
  });
});
