import { describe, expect, it } from 'vitest';

import type { DelegationLine } from '@/api/schema';

import { draftOf, isActorName, NOBODY, readPerson, readTitles, sides } from './people';

const ME = 'key:me';
const right = (giver: string, to: string): DelegationLine => ({ id: `${giver}${to}`, giver, to, roles: [], reason: '', made_at: 1, until: 2, ended_at: 0, ended_by: '' });

it('puts rights to their sides', () => {
  const [given, taken, other] = [right(ME, 'key:a'), right('key:a', ME), right('key:a', 'key:b')];
  expect(sides([given, taken, other], ME)).toEqual({ given: [given], taken: [taken], others: [other] });
});

it('knows names that somebody could have', () => {
  expect([isActorName('key:ben'), isActorName('oidc:a b'), isActorName(''), isActorName('a\u202eb'), isActorName(' key:ben')]).toEqual([true, true, false, false, false]);
});

it('reads titles, each once', () => {
  expect(readTitles(' finance, lead finance\n')).toEqual(['finance', 'lead']);
  expect(readTitles('')).toEqual([]);
  for (const wrong of ['Finance', '1st', 'a'.repeat(64), 'a!']) expect(readTitles(wrong)).toBeNull();
});

describe('what is said of somebody', () => {
  const read = (over: Partial<typeof NOBODY>) => readPerson({ ...NOBODY, actor: 'key:ben', ...over }, ME);
  it('is all that is known of them', () => expect(read({ person: ' ben ', titles: 'lead', mail: 'b@x.org', barred: true }).said).toEqual({ person: 'ben', roles: ['lead'], mail: 'b@x.org', barred: true }));
  it('is never of oneself', () => expect(read({ actor: ME })).toEqual({ said: null, wrong: 'nobody says who they are themselves: ask another admin' }));
  it.each([[{ actor: '' }], [{ actor: 'a/b' }], [{ titles: 'No' }], [{ mail: 'nobody' }]])('is refused: %j', (over) => expect(read(over).said).toBeNull());
  it('is written as it was', () => expect(draftOf({ actor: 'key:b', person: 'b', roles: ['x', 'y'], mail: '', barred: false, set_by: '', set_at: 0 })).toEqual({ actor: 'key:b', person: 'b', titles: 'x y', mail: '', barred: false }));
});
