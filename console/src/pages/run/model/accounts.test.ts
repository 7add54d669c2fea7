import { expect, it } from 'vitest';

import { accountsOf, watchesOf } from './accounts';

it('reads who answers for a call, and leaves out what names nobody', () => {
  const calls = [{ parties: [{ who: 'ann', part: 'built', source: 'release r1', at: 7 }, { part: 'approved' }, 'x'], missing: ['reviewed', 3] }, { parties: null }];
  expect(accountsOf(calls)).toEqual([
    { parties: [{ who: 'ann', part: 'built', source: 'release r1', detail: '', at: 7 }], missing: ['reviewed'] },
    { parties: [], missing: [] },
  ]);
});

it('reads who watched a run', () => {
  expect(watchesOf([{ who: 'key:b', how: 'claimed', since: 1, until: 0, by: 'key:b' }, { who: 'key:c', how: 'assigned', since: 2, until: 3 }, { how: 'held' }])).toEqual([
    { who: 'key:b', how: 'held the case', since: 1, until: 0 }, { who: 'key:c', how: 'was to look at it', since: 2, until: 3 },
  ]);
});
