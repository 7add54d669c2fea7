import { expect, it } from 'vitest';

import { accountsOf } from './accounts';

it('reads who answers for a call, and leaves out what names nobody', () => {
  const calls = [{ parties: [{ who: 'ann', part: 'built', source: 'release r1', at: 7 }, { part: 'approved' }, 'x'], missing: ['reviewed', 3] }, { parties: null }];
  expect(accountsOf(calls)).toEqual([
    { parties: [{ who: 'ann', part: 'built', source: 'release r1', detail: '', at: 7 }], missing: ['reviewed'] },
    { parties: [], missing: [] },
  ]);
});
