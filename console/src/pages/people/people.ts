import type { DelegationLine, PersonLine, PersonSaid } from '@/api/schema';

/** For how long a right can be handed on. */
export const SPANS = [
  { value: '3600', label: 'an hour' }, { value: '28800', label: '8 hours' }, { value: '86400', label: 'a day' }, { value: '259200', label: '3 days' },
  { value: '604800', label: '7 days' }, { value: '2592000', label: '30 days' }, { value: '7776000', label: '90 days' },
] as const;

const ROLE = /^[a-z][a-z0-9_-]{0,62}$/;
const ROLES_MAX = 50;

/** Rights by how they concern somebody: given, taken, or neither. */
export function sides(items: readonly DelegationLine[], me: string): { readonly given: readonly DelegationLine[]; readonly taken: readonly DelegationLine[]; readonly others: readonly DelegationLine[] } {
  return {
    given: items.filter((one) => one.giver === me),
    taken: items.filter((one) => one.to === me && one.giver !== me),
    others: items.filter((one) => one.giver !== me && one.to !== me),
  };
}

/** Whether a text names somebody who could decide: an actor such as `key:ben`, without what cannot be seen. */
export const isActorName = (text: string): boolean => /^[^\p{C}\p{Zl}\p{Zp}]{1,200}$/u.test(text) && text.trim() === text;

/** Titles as they are typed, with commas or blanks between; null = one of them cannot be. */
export function readTitles(text: string): readonly string[] | null {
  const titles = [...new Set(text.split(/[\s,]+/).filter((one) => one !== ''))];
  return titles.length <= ROLES_MAX && titles.every((one) => ROLE.test(one)) ? titles : null;
}

/** Somebody as a form has them. */
export interface Draft {
  readonly actor: string;
  readonly person: string;
  readonly titles: string;
  readonly mail: string;
  readonly barred: boolean;
}

export const NOBODY: Draft = { actor: '', person: '', titles: '', mail: '', barred: false };

export const draftOf = (one: PersonLine): Draft => ({ actor: one.actor, person: one.person, titles: one.roles.join(' '), mail: one.mail, barred: one.barred });

/** What the form says, or what is wrong with it. */
export function readPerson(draft: Draft, me: string): { readonly said: PersonSaid | null; readonly wrong: string } {
  const titles = readTitles(draft.titles);
  const actor = draft.actor.trim();
  if (!isActorName(actor) || actor.includes('/')) return { said: null, wrong: 'name an actor, such as key:ben' };
  if (actor === me) return { said: null, wrong: 'nobody says who they are themselves: ask another admin' };
  if (titles === null) return { said: null, wrong: 'titles are small letters, digits, - and _, such as finance' };
  if (draft.mail.trim() !== '' && !/^[^\s@]+@[^\s@]+$/.test(draft.mail.trim())) return { said: null, wrong: 'that is no address for mail' };
  return { said: { person: draft.person.trim(), roles: [...titles], mail: draft.mail.trim(), barred: draft.barred }, wrong: '' };
}
