import { describe, expect, it } from 'vitest';

import { ApiProblem } from '@/api/problem';
import type { ControlState } from '@/api/schema';

import { againSeconds, type Asking, IDLE, newKey, step } from './asking';
import { actionsOf, armWord, fromSearch, liftable, marks, settled } from './scope';

const asked = { scope: { kind: 'agent', name: 'desk' }, action: 'kill', reason: 'runaway', armed: 'desk' } as const;
const asking = (): Asking => step(IDLE, { kind: 'ask', key: 'k1', asked });
const failed = (code: string, status: number): Parameters<typeof step>[1] => ({ kind: 'failed', problem: new ApiProblem({ code, status, title: code }) });

describe('a stop without an answer', () => {
  it('is asked for again under the same key', () => {
    for (const event of [failed('unreachable', 0), failed('internal', 500), failed('timed_out', 504)]) {
      const unsure = step(asking(), event);
      expect(unsure).toMatchObject({ kind: 'unsure', key: 'k1' });
      expect(step(unsure, { kind: 'again' })).toMatchObject({ kind: 'asking', key: 'k1', tries: 2 });
    }
  });

  it('is neither put aside nor asked for under another key', () => {
    const unsure = step(asking(), failed('unreachable', 0));
    expect(step(unsure, { kind: 'reset' })).toBe(unsure);
    expect(step(unsure, { kind: 'ask', key: 'k2', asked })).toBe(unsure);
    expect(step(asking(), { kind: 'ask', key: 'k2', asked })).toMatchObject({ key: 'k1' });
  });

  it('is asked for ever more seldom, and still often', () => {
    expect([1, 2, 3, 4, 9].map(againSeconds)).toEqual([2, 4, 8, 15, 15]);
  });
});

it('a refusal is a refusal, unless an earlier try may have done it', () => {
  expect(step(asking(), failed('not_armed', 409))).toMatchObject({ kind: 'refused', wasUnsure: false });
  const again = step(step(asking(), failed('unreachable', 0)), { kind: 'again' });
  expect(step(again, failed('control_unknown', 404))).toMatchObject({ kind: 'refused', wasUnsure: true });
});

it('keys are long and differ', () => {
  expect(newKey()).toMatch(/^console-[0-9a-f]{32}$/);
  expect(newKey()).not.toBe(newKey());
});

const me = { tenant: 'acme', environment: 'production' };

describe('what has to be typed', () => {
  it('is the name of what is stopped, of everything the environment, of one run nothing', () => {
    expect(armWord({ kind: 'agent', name: 'desk' }, me)).toBe('desk');
    expect(armWord({ kind: 'tenant', name: '' }, me)).toBe('acme');
    expect(armWord({ kind: 'everything', name: '' }, me)).toBe('production');
    expect(armWord({ kind: 'run', name: 'x' }, me)).toBeNull();
  });
});

describe('an address', () => {
  it('says what is asked for, and nothing unknown gets through', () => {
    expect(fromSearch({})).toEqual({ kind: 'agent', name: '', action: 'kill' });
    expect(fromSearch({ scope: 'run', name: 'r', action: 'cancel' })).toEqual({ kind: 'run', name: 'r', action: 'cancel' });
    expect(fromSearch({ scope: 'agent', name: 'a', action: 'cancel' }).action).toBe('kill');
    expect(fromSearch({ scope: 'tenant', name: 'other' }).name).toBe('');
    // A misspelled scope must not become a wide one.
    expect(fromSearch({ scope: 'evrything' }).kind).toBe('run');
  });

  it('may name a tool or an environment, whose name is typed too', () => {
    expect(fromSearch({ scope: 'tool', name: 'refund', action: 'pause' })).toEqual({ kind: 'tool', name: 'refund', action: 'pause' });
    expect(armWord({ kind: 'tool', name: 'refund' }, me)).toBe('refund');
    expect(armWord({ kind: 'environment', name: 'staging' }, me)).toBe('staging');
    expect(actionsOf('tool')).not.toContain('cancel');
  });

  it('a scope cannot be cancelled', () => {
    expect(actionsOf('agent')).not.toContain('cancel');
    expect(actionsOf('run')).toContain('cancel');
  });
});

describe('the way of a stop', () => {
  const control = (over: Partial<ControlState>): ControlState => ({
    id: '1', scope: { kind: 'agent', name: 'desk' }, action: 'kill', actor: 'key:o', reason: '', at: 10, in_force: true, lifted_at: null, lifted_by: '',
    state: 'requested', sealed_at: null, open_effects: [], open_total: 0, latest_end: null, in_doubt: 0, stopped_runs: 0, blockers: [], ...over,
  });
  const shown = (over: Partial<ControlState>): string => marks(control(over)).map((mark) => `${mark.name} ${mark.state}`).join(', ');

  it('goes from requested to sealed to quiesced', () => {
    expect(shown({})).toBe('requested done, sealed now, open to come, quiesced to come');
    expect(shown({ state: 'not_sealed' })).toBe('requested done, sealed bad, open to come, quiesced to come');
    expect(shown({ state: 'sealed', sealed_at: 20 })).toBe('requested done, sealed done, open now, quiesced to come');
    expect(shown({ state: 'quiesced', sealed_at: 20 })).toBe('requested done, sealed done, open done, quiesced done');
    expect(shown({ state: 'quiesced', sealed_at: 20, in_doubt: 2 })).toContain('quiesced bad');
    expect(shown({ state: 'lifted', sealed_at: 20, lifted_at: 30 })).toBe('requested done, sealed done, lifted done');
  });

  it('is watched until nothing moves', () => {
    expect([settled({ state: 'sealed' }), settled({ state: 'not_sealed' }), settled({ state: 'quiesced' })]).toEqual([false, false, true]);
  });

  it('can be lifted, but for a run that was killed', () => {
    expect(liftable(control({}))).toBe(true);
    expect(liftable(control({ in_force: false }))).toBe(false);
    expect(liftable(control({ scope: { kind: 'run', name: 'r' } }))).toBe(false);
    expect(liftable(control({ scope: { kind: 'run', name: 'r' }, action: 'pause' }))).toBe(true);
  });
});
