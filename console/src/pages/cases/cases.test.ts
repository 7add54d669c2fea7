import { describe, expect, it } from 'vitest';

import type { CaseLine } from '@/api/schema';

import { casesShown, countShown, isActor, momentField, readMoment, readShow } from './cases';

const line = (run: string, over: Partial<CaseLine> = {}): CaseLine => ({
  run, assignee: '', due: 0, holder: '', claimed_at: 0, until: 0, closed_at: 0, note: '', claims: 0, agent: 'desk', customer: '', why: 'question', ends: 0, late: false, questions: [], ...over,
});
const items = [line('a'), line('b', { holder: 'key:me' }), line('c', { assignee: 'me', due: 50 }), line('d', { assignee: 'key:ada', due: 500, customer: 'Acme' }), line('e', { holder: 'key:ada' })];
const ids = (show: 'all' | 'mine' | 'unassigned' | 'overdue', query = ''): string => casesShown(items, show, query, 'key:me', 100).map((one) => one.run).join('');

describe('cases', () => {
  it('are mine when I hold them, or am to look at them', () => expect(ids('mine')).toBe('bc'));
  it('are nobody’s when nobody holds them or is to look at them', () => expect(ids('unassigned')).toBe('a'));
  it('are overdue by their due time, not by when the question ends', () => expect(ids('overdue')).toBe('c'));
  it('are found by a word', () => {
    expect(ids('all', ' acme ')).toBe('d');
    expect(ids('all', 'ada')).toBe('de');
    expect(ids('mine', 'ada')).toBe('');
  });
  it('are counted', () => expect(countShown(items, 'key:me', 100)).toEqual({ all: 5, mine: 2, unassigned: 1, overdue: 1 }));
});

it('knows an actor by the name alone', () => {
  expect([isActor('key:ada', 'key:ada'), isActor('Ada', 'key:ada'), isActor('cli:ada', 'key:ada'), isActor('adam', 'key:ada'), isActor('', 'key:')]).toEqual([true, true, true, false, false]);
  expect([readShow('mine'), readShow('else'), readShow(undefined)]).toEqual(['mine', 'all', 'all']);
});

it('reads a date and a time as it writes them', () => {
  const at = new Date(2026, 10, 9, 8, 5).getTime() * 1000;
  expect(momentField(at)).toBe('2026-11-09T08:05');
  expect(readMoment(momentField(at))).toBe(at);
  expect([readMoment(''), readMoment('tomorrow'), readMoment('2026-99-99T10:00')]).toEqual([0, null, null]);
  expect(momentField(0)).toBe('');
});
