import { describe, expect, it } from 'vitest';

import type { BudgetPoint, CriticalPart } from '@/api/schema';

import { axisOf, criticalAfter, cuts, held, panned, showing, ticks, whole, zoomed } from './model/axis';
import { binsOf, stretches } from './model/bins';
import { budgetWords, pointAsOf, resourceOf, stepsOf } from './model/budget';
import { wordDiff } from './model/diff';
import { familyOf } from './model/family';
import { seqOf, spanOf, stateThen, statusThen, stepped, thenOf, timesOf } from './model/tape';
import { STATE } from './model/trace';
import { many, S, sample } from './sample';

const part = (span: number, name: string, start: number, duration: number): CriticalPart => ({ span, part: name, start: start * S, duration: duration * S });

describe('the axis', () => {
  const calls = [{ start: 0, duration: 2 * S, kind: 'model' }, { start: 2 * S, duration: 96 * S }, { start: 98 * S, duration: 2 * S, kind: 'model' }];
  const critical = [part(0, 'model', 0, 2), part(1, 'approval', 2, 95), part(1, 'tool', 97, 1), part(2, 'model', 98, 2)];

  it('of active time leaves a wait out and says how long it was', () => {
    const axis = axisOf(sample(calls, { total: 100 * S, critical }), 'active');
    expect(axis.total).toBe(5 * S);
    expect(axis.breaks).toEqual([{ at: 2 * S, us: 95 * S, part: 'approval' }]);
    expect([...axis.begin]).toEqual([0, 2 * S, 3 * S]);
    expect([...axis.end]).toEqual([2 * S, 3 * S, 5 * S]);
    expect(axis.place(50 * S)).toBe(2 * S);
  });

  it('leaves no time out in which another call ran', () => {
    const beside = [...calls, { start: 40 * S, duration: 10 * S }];
    const left = cuts(sample(beside, { total: 100 * S, critical }));
    expect(left.map(({ from, to }) => [from / S, to / S])).toEqual([[2, 40], [50, 97]]);
  });

  it('of time has everything where it was, and what goes on up to the end', () => {
    const axis = axisOf(sample([{ start: S, duration: -1, status: 'open' }], { total: 9 * S, ended: false }), 'time');
    expect([axis.begin[0], axis.end[0], axis.total]).toEqual([S, 9 * S, 9 * S]);
  });

  it('of money makes a call as wide as it cost, and a group as wide as what is in it', () => {
    const axis = axisOf(sample([{ nano: 5 }, { kind: 'gather', nano: 99 }, { parent: 1, path: '1.0.1', nano: 3 }, { parent: 1, path: '1.1.1', nano: 4 }]), 'money');
    expect([...axis.begin]).toEqual([0, 5, 5, 8]);
    expect([...axis.end]).toEqual([5, 12, 8, 12]);
    expect(axis.total).toBe(12);
  });

  it('is zoomed and moved, never beyond its ends', () => {
    const axis = axisOf(sample(calls, { total: 100 * S }), 'time');
    const near = zoomed(whole(axis), axis, 0.1, 0.25);
    expect(near).toEqual({ from: 22.5 * S, to: 32.5 * S });
    expect(panned(near, axis, -10)).toEqual({ from: 0, to: 10 * S });
    expect(zoomed(near, axis, 1_000)).toEqual(whole(axis));
    expect(held({ from: 95 * S, to: 120 * S }, axis)).toEqual({ from: 75 * S, to: 100 * S });
    expect(zoomed(whole(axis), axis, 1e-12).to - zoomed(whole(axis), axis, 1e-12).from).toBeGreaterThanOrEqual(999);
  });

  it('moves the view to a span that is outside or too small, and leaves it otherwise', () => {
    const axis = axisOf(sample(calls, { total: 100 * S }), 'time');
    const view = { from: 0, to: 10 * S };
    expect(showing(view, axis, 2 * S, 4 * S)).toBe(view);
    const moved = showing(view, axis, 98 * S, 99 * S);
    expect(moved.from).toBeLessThan(98 * S);
    expect(moved.to).toBeGreaterThan(99 * S);
  });

  it('leads along the critical path, from anywhere', () => {
    expect([null, 0, 1, 2].map((span) => criticalAfter(critical, span))).toEqual([0, 1, 2, 0]);
    expect(criticalAfter([part(-1, 'queue', 0, 1)], 0)).toBeNull();
  });

  it('has round places', () => {
    expect(ticks({ from: 0, to: 100 }, 5)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticks({ from: 0, to: 300 * S }, 4).map((at) => at / S)).toEqual([0, 120, 240]);
    expect(ticks({ from: 0, to: 0 }, 5)).toEqual([]);
  });
});

describe('many spans by pixel', () => {
  it('an error or a hold wins its pixel, however many others are there', () => {
    const model = sample(many(10_000, (i) => ({ start: i * 10, duration: 10, ...(i === 5_000 ? { status: 'error' } : {}), ...(i === 7_000 ? { status: 'waiting' } : {}) })), { total: 100_000 });
    const axis = axisOf(model, 'time');
    const members = Int32Array.from({ length: 10_000 }, (_, i) => i);
    const bins = binsOf(members, (i) => model.state[i] ?? 0, axis, whole(axis), 100);
    expect(bins[50]).toBe(1 + STATE.failed);
    expect(bins[70]).toBe(1 + STATE.held);
    expect(bins.filter((rank) => rank === 1)).toHaveLength(98);
    expect(stretches(bins).map(({ from, to }) => [from, to])).toEqual([[0, 50], [50, 51], [51, 70], [70, 71], [71, 100]]);
  });

  it('draws nothing where there was nothing, and nothing that is outside the view', () => {
    const model = sample([{ start: 0, duration: S }, { start: 8 * S, duration: S }], { total: 10 * S });
    const axis = axisOf(model, 'time');
    const bins = binsOf(Int32Array.of(0, 1), () => 0, axis, whole(axis), 10);
    expect([...bins]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expect([...binsOf(Int32Array.of(0, 1), () => 0, axis, { from: 2 * S, to: 7 * S }, 5)]).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('the budget', () => {
  const point = (seq: number, nano: number, reserved = 0): BudgetPoint => ({ seq, at: seq * S, nano, reserved_nano: reserved, tokens: seq * 100, steps: seq });
  const points = [point(1, 0, 50), point(2, 40), point(3, 40, 50), point(5, 80)];

  it('shows what is nearest to its limit', () => {
    expect(resourceOf(points, { nano: 100, tokens: 10_000, steps: 0 }).name).toBe('money');
    expect(resourceOf(points, { nano: 100, tokens: 520, steps: 0 }).name).toBe('tokens');
    expect(resourceOf(points, { nano: 0, tokens: 0, steps: 0 }).name).toBe('money');
  });

  it('is a line of what is used, with what is reserved above it', () => {
    const axis = axisOf(sample([{}], { total: 10 * S, budget: points }), 'time');
    const money = resourceOf(points, { nano: 100, tokens: 0, steps: 0 });
    const steps = stepsOf(points, money, axis, whole(axis), 100, 108);
    expect(steps.map(({ x, used, top }) => [x, Math.round(used), Math.round(top)])).toEqual([[10, 0, 50], [20, 40, 40], [30, 40, 90], [50, 80, 80]]);
  });

  it('keeps the highest top of what falls on one pixel', () => {
    const axis = axisOf(sample([{}], { total: 1_000 * S }), 'time');
    const money = resourceOf(points, { nano: 100, tokens: 0, steps: 0 });
    expect(stepsOf(points, money, axis, whole(axis), 10, 108).map(({ used, top }) => [Math.round(used), Math.round(top)])).toEqual([[80, 90]]);
  });

  it('is what it was after an event', () => {
    expect(pointAsOf(points, 4)?.seq).toBe(3);
    expect(pointAsOf(points, 0)).toBeNull();
    expect(budgetWords(points[2] ?? null, resourceOf(points, { nano: 100, tokens: 0, steps: 0 }))).toContain('(40 %)');
  });
});

describe('the tape', () => {
  const model = sample([{}, { status: 'error' }, {}], {
    events: [{ kind: 'run.claimed', seq: 1, at: 0, words: '' }, { kind: 'run.parked', seq: 4, at: S, words: '' }, { kind: 'run.claimed', seq: 5, at: S, words: '' }, { kind: 'run.ended', seq: 7, at: 3 * S, words: '' }],
  });

  it('shows what was there then, what went on, and what was not yet', () => {
    expect([0, 1, 2].map((i) => thenOf(model, i, 4))).toEqual(['over', 'running', 'not yet']);
    expect(stateThen(model, 1, 4)).toBe(STATE.open);
    expect(stateThen(model, 1, 5)).toBe(STATE.failed);
    expect(stateThen(model, 1, 3)).toBe(STATE.ok);
    expect(stateThen(model, 1, null)).toBe(STATE.failed);
  });

  it('knows how the run stood', () => {
    expect([1, 4, 5, 7].map((seq) => statusThen(model, seq))).toEqual(['running', 'parked', 'running', 'ended']);
  });

  it('knows when each event was, and never goes back in time', () => {
    const times = timesOf(model);
    expect(times[4]).toBe(S);
    expect([...times]).toEqual([...times].sort((a, b) => a - b));
  });

  it('is walked event by event; its end is no place', () => {
    expect(stepped(null, -1, 7)).toBe(6);
    expect(stepped(6, 1, 7)).toBeNull();
    expect(stepped(1, -1, 7)).toBe(1);
    expect([seqOf('3', 7), seqOf('7', 7), seqOf('8', 7), seqOf('0', 7), seqOf('x', 7)]).toEqual([3, null, null, null, null].map((v, i) => (i === 1 ? 7 : v)));
  });

  it('knows whose event it is', () => {
    expect([2, 5, 7].map((seq) => spanOf(model, seq))).toEqual([0, 1, 2]);
    expect(spanOf(model, 1)).toBeNull();
  });
});

describe('texts word by word', () => {
  it.each([
    ['refund $49.00 now', 'refund $59.00 now', ['both:refund $', 'left:49', 'right:59', 'both:.00 now']],
    ['a b', 'a b', ['both:a b']],
    ['', 'new', ['right:new']],
    ['old', '', ['left:old']],
  ])('of %j and %j', (left, right, parts) => {
    expect(wordDiff(left, right).map(({ side, text }) => `${side}:${text}`)).toEqual(parts);
  });

  it('always give both texts back', () => {
    let seed = 7;
    const random = (n: number): number => (seed = (seed * 16_807) % 2_147_483_647) % n;
    for (let round = 0; round < 200; round++) {
      const text = (): string => Array.from({ length: random(30) }, () => 'ab c.'[random(5)]).join('');
      const [left, right] = [text(), text()];
      const parts = wordDiff(left, right);
      expect(parts.filter((one) => one.side !== 'right').map((one) => one.text).join('')).toBe(left);
      expect(parts.filter((one) => one.side !== 'left').map((one) => one.text).join('')).toBe(right);
    }
  });

  it('give up on what is wholly different without hanging', () => {
    const text = (word: string): string => Array.from({ length: 5_000 }, (_, i) => `${word}${i}`).join(' ');
    expect(wordDiff(text('a'), text('b')).length).toBeGreaterThan(1);
  });
});

describe('a team', () => {
  const child = (n: number, agent: string, outcome: string, first = false) => ({ run: `c${n}`, parent: 'r', agent, path: String(n), status: 'ended', outcome, nano: 1, first_failed: first });
  const root = { run: 'r', agent: 'lead', shown: 'failed', nano: 0 };

  it('is drawn whole up to two hundred', () => {
    expect(familyOf(Array.from({ length: 199 }, (_, i) => child(i, 'kb', 'succeeded')), root)).toMatchObject({ hidden: 0 });
  });

  it('is folded above that, and the one that failed first stays alone', () => {
    const children = Array.from({ length: 500 }, (_, i) => child(i, 'kb', i === 300 || i === 301 ? 'failed' : 'succeeded', i === 300));
    const { agents, hidden } = familyOf(children, root);
    expect(agents.map(({ count, firstFailed }) => [count, firstFailed])).toEqual([[1, false], [498, false], [1, true], [1, false]]);
    expect(hidden).toBe(497);
    expect(familyOf(children, root, true).agents).toHaveLength(501);
  });
});
