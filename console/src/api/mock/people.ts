import type { DelegationAsked, DelegationLine, PersonLine, PersonSaid } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { DAY, HOUR, NOW } from './seed';

const ME = 'key:operator-a';
const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const right = (n: number, giver: string, to: string, over: Partial<DelegationLine> = {}): DelegationLine => ({
  id: `0199f2aa-0000-7000-8000-00000000000${n}`, giver, to, roles: ['approver', 'finance'], reason: 'on a train', made_at: NOW - HOUR, until: NOW + 7 * HOUR, ended_at: 0, ended_by: '', ...over,
});

let rights: DelegationLine[] = [
  right(1, ME, 'key:approver-b', { roles: ['approver'] }),
  right(2, 'key:head-of-finance', ME, { reason: `on leave ${HOSTILE}`, until: NOW + 3 * DAY }),
  right(3, 'key:approver-c', 'key:approver-b'),
];
let known: PersonLine[] = [
  { actor: 'key:approver-b', person: 'ben', roles: ['finance'], mail: 'ben@example.org', barred: false, set_by: 'key:admin-d', set_at: NOW - 3 * DAY },
  { actor: 'key:approver-c', person: 'cyn', roles: [], mail: '', barred: true, set_by: ME, set_at: NOW - 2 * DAY },
  { actor: ME, person: 'ada', roles: ['finance', 'lead'], mail: '', barred: false, set_by: 'key:admin-d', set_at: NOW - DAY },
];
const quiet = (): boolean => new URLSearchParams(location.search).has('quiet');

/** Rights that were handed on, and who people are. */
export const peopleRoutes: Routes = {
  'GET /v1/delegations': route<'/v1/delegations', 'get'>(() => ({ items: quiet() ? [] : rights, roles: ['approver', 'finance', 'lead'], why_not: '' })),
  'POST /v1/delegations': route<'/v1/delegations', 'post'>(({ body }) => {
    const { to, seconds, reason, roles = [] } = body as DelegationAsked;
    if (to === 'key:nobody') return new Refusal(422, 'delegation_invalid', `${to} is the same person as ${ME}`);
    const made = right(rights.length + 4, ME, to, { reason, roles: roles.length > 0 ? roles : ['approver', 'finance', 'lead'], until: Date.now() * 1000 + seconds * 1e6 });
    rights = [made, ...rights];
    return made;
  }),
  'DELETE /v1/delegations/{id}': route<'/v1/delegations/{id}', 'delete'>(({ params }) => {
    const one = rights.find((each) => each.id === params['id']);
    if (!one) return new Refusal(404, 'delegation_unknown', `${ME} has no delegation ${params['id']}`);
    rights = rights.filter((each) => each !== one);
    return { ...one, ended_at: Date.now() * 1000, ended_by: ME };
  }),
  'GET /v1/people': route<'/v1/people', 'get'>(() => ({ items: quiet() ? [] : known, next: null })),
  'PUT /v1/people/{actor}': route<'/v1/people/{actor}', 'put'>(({ params, body }) => {
    const { roles = [], ...said } = body as PersonSaid;
    const actor = params['actor'] ?? '';
    const made = { actor, ...said, roles, person: said.person || actor.replace(/^key:/, ''), set_by: ME, set_at: Date.now() * 1000 };
    known = [...known.filter((one) => one.actor !== actor), made].sort((a, b) => (a.actor < b.actor ? -1 : 1));
    return made;
  }),
  'DELETE /v1/people/{actor}': route<'/v1/people/{actor}', 'delete'>(({ params }) => {
    known = known.filter((one) => one.actor !== params['actor']);
    return { actor: params['actor'] ?? '', known: true };
  }),
};
