import { describe, expect, it } from 'vitest';

import { ApiProblem } from '@/api/problem';

import { ARM_MS, armedAt, type Event, LOOKING, said, type State, step, TAKE_BACK_MS } from './decide';

const choose = (over: Partial<Extract<Event, { kind: 'choose' }>> = {}): Event => ({ kind: 'choose', choice: 'approve', armed: true, repeat: false, highRisk: false, at: 1_000, ...over });
const run = (...events: Event[]): State => events.reduce(step, LOOKING);
const due = (at: number): Event => ({ kind: 'due', at });
const posting = (): State => run(choose(), due(1_000 + TAKE_BACK_MS));
const problem = (code: string, status: number, fields = {}) => new ApiProblem({ code, status, title: code, fields });

describe('a card is armed', () => {
  it('only after it was in the focus and unchanged for the whole time', () => {
    expect(armedAt({ focused: 100, changed: 0, endSeen: true })).toBe(100 + ARM_MS);
    expect(armedAt({ focused: 100, changed: 700, endSeen: true })).toBe(700 + ARM_MS);
    expect(armedAt({ focused: null, changed: 0, endSeen: true })).toBeNull();
  });

  it('not before the end of the arguments was seen', () => {
    expect(armedAt({ focused: 100, changed: 0, endSeen: false })).toBeNull();
  });

  it('anew when anything of what is bound has changed', () => {
    const one = { id: 'a', digest: 'd', version: 7, args: '{}' };
    expect(said(one)).toBe(said({ ...one }));
    for (const other of [{ id: 'b' }, { digest: 'e' }, { version: 8 }, { args: '[]' }]) expect(said({ ...one, ...other })).not.toBe(said(one));
  });
});

describe('approving', () => {
  it('is sent after the time to take it back, not a moment before', () => {
    const sending = run(choose());
    expect(sending.kind).toBe('sending');
    expect(step(sending, due(1_000 + TAKE_BACK_MS - 1)).kind).toBe('sending');
    expect(step(sending, due(1_000 + TAKE_BACK_MS)).kind).toBe('posting');
  });

  it('does nothing while the key is held or the card is not armed', () => {
    expect(run(choose({ repeat: true }))).toBe(LOOKING);
    expect(run(choose({ armed: false }))).toBe(LOOKING);
  });

  it('of high risk needs a second, different act, which a held key is not', () => {
    const asked = run(choose({ highRisk: true }));
    expect(asked.kind).toBe('confirming');
    expect(step(asked, choose({ highRisk: true }))).toBe(asked);
    expect(step(asked, { kind: 'confirm', repeat: true, at: 1 })).toBe(asked);
    expect(step(asked, { kind: 'confirm', repeat: false, at: 5 })).toMatchObject({ kind: 'sending', since: 5 });
  });

  it('is taken back by Esc and by leaving, and is never sent then', () => {
    for (const event of [{ kind: 'back' }, { kind: 'left' }] as const) {
      const state = run(choose(), event);
      expect(state.kind).toBe('looking');
      expect(step(state, due(1e9))).toBe(state);
    }
  });

  it('ends when the question changes under it', () => {
    expect(run(choose(), { kind: 'changed' })).toMatchObject({ kind: 'locked', again: true });
    expect(run({ kind: 'changed' })).toMatchObject({ kind: 'looking' });
    expect(run(choose(), { kind: 'expired' })).toMatchObject({ kind: 'locked', again: false });
  });
});

describe('denying', () => {
  it('needs a reason', () => {
    const asked = run(choose({ choice: 'deny' }));
    expect(asked.kind).toBe('reasons');
    expect(step(asked, { kind: 'reason', reason: '  ', repeat: false, highRisk: false, at: 1 })).toBe(asked);
    expect(step(asked, { kind: 'reason', reason: 'wrong amount', repeat: true, highRisk: false, at: 1 })).toBe(asked);
    expect(step(asked, { kind: 'reason', reason: ' wrong amount ', repeat: false, highRisk: true, at: 1 })).toMatchObject({ kind: 'sending', choice: 'deny', reason: 'wrong amount' });
  });

  it('keeps what is written when the focus leaves', () => {
    const asked = run(choose({ choice: 'deny' }));
    expect(step(asked, { kind: 'left' })).toBe(asked);
  });

  it('that a thing happened, where the risk is high, is confirmed: the call may be made again', () => {
    const state = run(choose({ choice: 'did_not_happen', highRisk: true }), { kind: 'reason', reason: 'no trace', repeat: false, highRisk: true, at: 1 });
    expect(state).toMatchObject({ kind: 'confirming', reason: 'no trace' });
  });
});

describe('the answer', () => {
  it('that it is taken is the only one that says so', () => {
    expect(step(posting(), { kind: 'taken', actor: 'key:me', at: 9 })).toMatchObject({ kind: 'done', at: 9 });
    expect(step(LOOKING, { kind: 'taken', actor: 'key:me', at: 9 })).toBe(LOOKING);
  });

  it('that somebody was faster says who, what and when', () => {
    const lost = step(posting(), { kind: 'refused', me: 'key:me', problem: problem('approval_decided', 409, { decision: 'deny', actor: 'key:b', at: 77 }) });
    expect(lost).toEqual({ kind: 'lost', decision: 'deny', actor: 'key:b', at: 77 });
    expect(step(lost, choose())).toBe(lost);
  });

  it('that never came is not taken for a no: it is asked again, and its own decision is recognised', () => {
    for (const failed of [ApiProblem.unreachable(new Error('cut')), problem('internal', 500), problem('timed_out', 504)]) {
      const unsure = step(posting(), { kind: 'refused', me: 'key:me', problem: failed });
      expect(unsure.kind).toBe('unsure');
      expect(step(unsure, choose())).toBe(unsure);
      const again = step(unsure, { kind: 'again' });
      expect(again.kind).toBe('posting');
      const mine = problem('approval_decided', 409, { decision: 'approve', actor: 'key:me', at: 5 });
      expect(step(again, { kind: 'refused', me: 'key:me', problem: mine })).toMatchObject({ kind: 'done', at: 5 });
    }
  });

  it('that it was changed or is over locks the card', () => {
    const refuse = (code: string, status: number): State => step(posting(), { kind: 'refused', me: 'm', problem: problem(code, status) });
    expect(refuse('approval_changed', 409)).toMatchObject({ kind: 'locked', again: true });
    expect(refuse('approval_expired', 409)).toMatchObject({ kind: 'locked', again: false });
    expect(refuse('approval_own', 403)).toMatchObject({ kind: 'locked', again: false });
    expect(step(refuse('approval_changed', 409), { kind: 'fresh' })).toBe(LOOKING);
  });

  it('of a question that is gone does not undo what is being sent', () => {
    const gone: Event = { kind: 'gone', problem: problem('approval_unknown', 404) };
    expect(step(LOOKING, gone).kind).toBe('locked');
    const sent = posting();
    expect(step(sent, gone)).toBe(sent);
  });
});
