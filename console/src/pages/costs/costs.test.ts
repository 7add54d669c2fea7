import { describe, expect, it } from 'vitest';

import type { Costs } from '@/api/schema';
import { cumulated, stackOf } from '@/ui/chart/model';

import { costsAsked } from './queries';
import { costsSearch, groupOf, rangeOf } from './search';
import { change, trendOf } from './series';

describe('a stack', () => {
  const bins = [
    { at: 30, counts: { failed: 2 } },
    { at: 10, counts: { succeeded: 5, failed: 1, odd: 0 } },
    { at: 10, counts: { late: 4 } },
  ];
  const stack = stackOf(bins, 10, ['succeeded', 'failed', 'killed'], (label) => label);

  it('fills bins that are missing, orders its series, leaves out those without a value', () => {
    expect(stack.at).toEqual([10, 20, 30]);
    expect(stack.series.map((one) => [one.label, ...one.values])).toEqual([['succeeded', 5, 0, 0], ['failed', 1, 0, 2], ['late', 4, 0, 0]]);
  });

  it('is cumulated from the first up', () => {
    expect(cumulated(stack)).toEqual([[5, 0, 0], [6, 0, 2], [10, 0, 2]]);
  });

  it('of nothing is empty', () => expect(stackOf([], 10, [], String)).toEqual({ at: [], width: 10, series: [] }));
});

describe('the trend', () => {
  const row = (value: string) => ({ value, used: { nano: 1 } });
  const costs = {
    width: 10,
    rows: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ''].map(row),
    series: [{ at: 0, nano: { a: 1, h: 2, '': 3, '*': 4 } }, { at: 10, nano: { a: 5 } }],
  } as unknown as Costs;

  it('shows the dearest by name and sums all others', () => {
    const stack = trendOf(costs);
    expect(stack.series.map((one) => [one.label, ...one.values])).toEqual([['a', 1, 5], ['others', 9, 0]]);
  });

  it('loses nothing', () => {
    const sums = cumulated(trendOf(costs)).at(-1);
    expect(sums).toEqual(costs.series.map((point) => Object.values(point.nano).reduce((a, b) => a + b, 0)));
  });
});

describe('a change', () => {
  it.each([[312, 100, '+212 %'], [92, 100, '−8 %'], [100, 100, '±0 %'], [5, 0, 'new'], [0, 0, ''], [1_300_000, 1_000, '+129,900 %']])(
    'from %d to %d', (now, before, words) => expect(change(now, before)).toBe(words),
  );
});

describe('the address of the costs', () => {
  it('falls back where it says nonsense', () => {
    const search = costsSearch({ by: 'colour', range: 'constructor', agent: 'a', foo: 'b' });
    expect(groupOf(search)).toBe('customer');
    expect(rangeOf(search)).toBe('7d');
    expect(costsAsked(search, 700_000_000_000)).toEqual({ by: 'customer', since: 95_200_000_000, agent: 'a' });
  });
});
