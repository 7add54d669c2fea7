import { describe, expect, it } from 'vitest';

import type { Costs } from '@/api/schema';
import { cumulated, stackOf } from '@/ui/chart/model';

import { costsAsked, paramsOf } from './queries';
import { runsOf } from './runs';
import { type CostsSearch, costsSearch, groupsOf, rangeOf, sinceOf } from './search';
import { change, trendOf } from './series';
import { certaintyOfSum, isUnpriced } from './words';

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
    const search = costsSearch({ by: 'colour', range: 'constructor', agent: 'a', foo: 'b', 'tag.x_team': 'red', 'tag.x-y': 'no' });
    expect(groupsOf(search)).toEqual(['customer']);
    expect(rangeOf(search)).toBe('7d');
    expect(costsAsked(search, 700_000_000_000)).toEqual({ by: 'customer', since: 95_200_000_000, agent: 'a', tag: ['x_team=red'] });
  });

  it('names one or two groupings, no more and none twice', () => {
    expect(groupsOf({ by: 'customer,feature,agent' })).toEqual(['customer', 'feature']);
    expect(groupsOf({ by: 'kind,kind,tag.x_team' })).toEqual(['kind', 'tag.x_team']);
  });

  it('counts a month from its first day, in UTC', () => {
    const at = Date.UTC(2026, 10, 1, 0, 30) * 1000;
    expect(sinceOf({ range: 'month' }, at)).toBe(Date.UTC(2026, 10, 1) * 1000);
    expect(sinceOf({ range: 'month' }, at - 3_600_000_000)).toBe(Date.UTC(2026, 9, 1) * 1000);
  });

  it('is given to a file as it is, own tags as name=value', () => {
    expect(paramsOf({ by: 'customer,feature', since: 5, tag: ['x_a=1&2', 'x_b='] }).toString()).toBe('by=customer%2Cfeature&since=5&tag=x_a%3D1%262&tag=x_b%3D');
  });
});

describe('a sum', () => {
  const runs = (groups: string[], values: string[], search: CostsSearch = {}) => runsOf(groups, values, search, Date.UTC(2026, 10, 20) * 1000);

  it('opens its runs, narrowed as the sums are', () => {
    expect(runs(['customer', 'feature'], ['acme', 'inbox'])).toEqual({ customer: 'acme', feature: 'inbox', since: '7d' });
    expect(runs(['tag.x_team'], ['red'], { agent: 'ledger', range: 'month' })).toEqual({ agent: 'ledger', 'tag.x_team': 'red', since: String(Date.UTC(2026, 10, 1) * 1000) });
    expect(runs(['user'], ['u_19'])).toEqual({ 'tag.user': 'u_19', since: '7d' });
  });

  it.each([[['model'], ['gpt']], [['customer'], ['']], [['customer'], ['*']], [['customer', 'kind'], ['acme', 'retry']]])('of %j %j opens none: the list could not tell them', (groups, values) => {
    expect(runs(groups, values)).toBeNull();
  });

  it('opens none when it is narrowed by what the list does not know', () => expect(runs(['customer'], ['acme'], { model: 'gpt' })).toBeNull());

  it('is at least so much when it is partial, and at most so much when a part is at its maximum', () => {
    expect(certaintyOfSum({ nano: 5, nano_at_maximum: 1 }, true)).toBe('partial');
    expect(certaintyOfSum({ nano: 5, nano_at_maximum: 1 }, false)).toBe('at_maximum');
    expect(certaintyOfSum({ nano: 5, nano_at_maximum: 0 }, false)).toBe('exact');
  });

  it('without money but with tokens has no price', () => {
    expect(isUnpriced({ used: { nano: 0, tokens_in: 3, tokens_out: 0 } })).toBe(true);
    expect(isUnpriced({ used: { nano: 0, tokens_in: 0, tokens_out: 0 } })).toBe(false);
  });
});
