import { describe, expect, it } from 'vitest';

import { bracketsOf, loopOf } from './model/loops';
import { type Fold, foldName, matching, openAtFirst, type Row, RUN_ID, rowsOf, spanId } from './model/fold';
import { above, below, landmarks, opening, RUN, STATE, stateOf } from './model/trace';
import { countWords, placeWords, rowWords } from './model/words';
import { many, sample, sampleTrace } from './sample';
import { toModel } from './model/trace';
import { scrollToRow, rangeOf } from './waterfall/rows';

const ALL = new Set([RUN_ID]);
const NONE: ReadonlySet<number> = new Set<number>();
const folds = (rows: ReturnType<typeof rowsOf>): Fold[] => rows.rows.flatMap((row) => (row.fold ? [row.fold] : []));

describe('the trace in arrays', () => {
  it('has children in order, and a way up', () => {
    const model = sample([{ kind: 'gather' }, { parent: 0, path: '0.0.1' }, {}, { parent: 0, path: '0.1.1' }]);
    expect([...below(model, RUN)]).toEqual([0, 2]);
    expect([...below(model, 0)]).toEqual([1, 3]);
    expect([...below(model, 3)]).toEqual([]);
    expect(above(model, 3)).toEqual([0]);
  });

  it('says how many spans did not come whole, and takes no parent that comes later', () => {
    const trace = sampleTrace([{}, { parent: 2 }, {}]);
    trace.spans.nano.pop();
    const model = toModel(trace);
    expect(model.missing).toBe(1);
    expect(model.count).toBe(2);
    expect(model.parent[1]).toBe(RUN);
  });

  it('takes a status that it does not know for no success', () => {
    expect(stateOf('exploded')).toBe(STATE.failed);
    expect(stateOf('did_not_happen')).toBe(STATE.ok);
  });

  it('opens with the first failure, then with what goes on, then with the last', () => {
    const failed = sample([{ status: 'denied' }, { status: 'error' }, { status: 'error' }]);
    expect(landmarks(failed).failure).toBe(1);
    const going = sample([{ status: 'denied' }, { status: 'open', duration: -1 }], { ended: false });
    expect(opening(going, landmarks(going))).toBe(1);
    const refused = sample([{ status: 'denied' }, {}]);
    expect(opening(refused, landmarks(refused))).toBe(0);
    const fine = sample([{}, { nano: 9 }, {}]);
    expect(landmarks(fine).dearest).toBe(1);
    expect(opening(fine, landmarks(fine))).toBe(2);
  });
});

describe('folding', () => {
  it('leaves a run of a few steps as it is', () => {
    const model = sample(many(40, () => ({})));
    expect(rowsOf(model, ALL, NONE, null)).toMatchObject({ shown: 40, folded: 0 });
  });

  it('makes one row of like siblings, with what failed and what it cost', () => {
    const model = sample(many(412, (i) => ({ name: 'get_account', nano: 3_000_000, ...(i === 7 || i === 9 ? { status: 'error' } : {}) })));
    const rows = rowsOf(model, ALL, NONE, null);
    expect(rows.rows).toHaveLength(2);
    expect(foldName(folds(rows)[0] as Fold)).toBe('get_account × 412, 2 failed');
    expect(folds(rows)[0]).toMatchObject({ nano: 1_236_000_000, state: STATE.failed });
    expect(rows).toMatchObject({ shown: 0, folded: 412 });
  });

  it('sees a pattern of several calls', () => {
    const model = sample(many(100, (i) => ({ kind: i % 2 ? 'tool' : 'model', name: i % 2 ? 'search_kb' : 'gpt' })));
    expect(foldName(folds(rowsOf(model, ALL, NONE, null))[0] as Fold)).toBe('gpt → search_kb × 50');
  });

  it('keeps what must be seen outside, between what comes before and after', () => {
    const model = sample(many(100, () => ({})));
    const rows = rowsOf(model, ALL, new Set([60]), null);
    expect(rows.rows.map((row) => row.span ?? row.fold?.members.length)).toEqual([RUN, 60, 60, 39]);
    expect(rows.rows[2]?.span).toBe(60);
  });

  it('takes stretches together where nothing repeats, and loses no call', () => {
    let seed = 1;
    const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    const model = sample(many(20_000, () => ({ name: `t${Math.floor(random() * 9)}` })));
    const keep = new Set([11_111]);
    const rows = rowsOf(model, ALL, keep, null);
    expect(rows.rows.length).toBeLessThan(80);
    const at = rows.rows.findIndex((row) => row.span === 11_111);
    expect(rows.rows.slice(at - 5, at + 6).filter((row) => row.span !== null)).toHaveLength(11);
    const inside = rows.rows.flatMap((row) => (row.fold ? [...row.fold.members] : row.span === RUN ? [] : [row.span]));
    expect(inside).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
    expect(rows.shown + rows.folded).toBe(20_000);
    const first = folds(rows)[0] as Fold;
    const opened = rowsOf(model, new Set([RUN_ID, first.id]), keep, null);
    expect(opened.rows.length).toBeGreaterThan(rows.rows.length + 300);
    expect(opened.shown + opened.folded).toBe(20_000);
  });

  it('opens what is folded, and numbers the rows for screen readers', () => {
    const model = sample(many(50, () => ({})));
    const closed = rowsOf(model, ALL, NONE, null);
    const fold = folds(closed)[0] as Fold;
    const open = rowsOf(model, new Set([RUN_ID, fold.id]), NONE, null);
    expect(open.rows).toHaveLength(52);
    expect(open.rows[51]).toMatchObject({ level: 3, place: 50, of: 50, expanded: null });
    expect(open.rows[1]).toMatchObject({ level: 2, expanded: true });
    expect(open).toMatchObject({ shown: 50, folded: 0 });
  });

  it('opens at first the ways to what matters', () => {
    const calls = [{ kind: 'gather' }, { parent: 0, path: '0.0.1' }, { kind: 'gather' }, { parent: 2, path: '2.0.1' }, ...many(60, () => ({}))];
    const model = sample(calls);
    const open = openAtFirst(model, [3]);
    expect(open.has(spanId(model, 2))).toBe(true);
    expect(open.has(spanId(model, 0))).toBe(false);
  });
});

describe('the filter', () => {
  const model = sample([{ kind: 'gather' }, { parent: 0, path: '0.0.1', name: 'refund', status: 'error' }, { name: 'search' }, { kind: 'model', name: 'gpt', verdict: 2 }]);

  it('keeps what it finds and what that is in, and counts the others as hidden', () => {
    const match = matching(model, 'refund');
    expect([...(match ?? [])]).toEqual([1, 1, 0, 0]);
    const rows = rowsOf(model, new Set([RUN_ID, spanId(model, 0)]), NONE, match);
    expect(rows).toMatchObject({ shown: 2, folded: 0, filtered: 2 });
    expect(countWords(rows, 0)).toBe('2 calls shown, 0 folded, 2 hidden by the filter, 0 missing');
  });

  it.each([['is:failed', [1]], ['verdict:hold', [3]], ['kind:tool search', [2]], ['nothing', []], ['name:gpt', [3]]])('understands %s', (filter, found) => {
    const match = matching(model, filter);
    expect([1, 2, 3].filter((i) => match?.[i] === 1)).toEqual(found);
  });

  it('is none when it is empty', () => {
    expect(matching(model, '  ')).toBeNull();
  });
});

describe('brackets of loops', () => {
  it('go from the first row of a loop to its last, over what lies between', () => {
    const model = sample(many(6, () => ({})), { loops: [{ name: 'look', spans: [1, 3, 4], nano: 0, tokens_growth: 1, said: '' }] });
    const { rows } = rowsOf(model, ALL, NONE, null);
    const brackets = bracketsOf(rows, loopOf(model));
    expect([...brackets].map(([r, { at }]) => [r, at])).toEqual([[2, 'begin'], [3, 'inside'], [4, 'inside'], [5, 'end']]);
  });

  it('are one row when the loop is folded', () => {
    const model = sample(many(50, () => ({})), { loops: [{ name: 'look', spans: [1, 3, 4], nano: 0, tokens_growth: 1, said: '' }] });
    const { rows } = rowsOf(model, ALL, NONE, null);
    expect([...bracketsOf(rows, loopOf(model)).values()]).toEqual([{ loop: 0, at: 'alone' }]);
  });
});

describe('words', () => {
  it('say of a row what its bar shows', () => {
    const model = sample([{ name: 'refund', status: 'error', verdict: 2, start: 1_480_000, duration: 340_000 }]);
    const row = rowsOf(model, ALL, NONE, null).rows[1] as Row;
    expect(rowWords(model, row, null)).toBe('refund, tool, error, after 1.48 s, took 340 ms, held');
    expect(rowWords(model, row, 1)).toBe('refund, tool, not yet at this place of the tape');
    expect(rowWords(model, row, 2)).toContain('not ended');
  });

  it.each([[0, 'queued, 1st'], [2, 'queued, 3rd'], [10, 'queued, 11th'], [21, 'queued, 22nd'], [111, 'queued, 112th']])('count places (%i)', (before, words) => {
    expect(placeWords(before)).toBe(words);
  });
});

describe('rows in view', () => {
  it('are those of the screen and some beside, and never more', () => {
    expect(rangeOf(0, 560, 28, 50_000)).toEqual({ first: 0, last: 32 });
    const middle = rangeOf(28 * 10_000, 560, 28, 50_000);
    expect(middle.first).toBeLessThanOrEqual(10_000 - 8);
    expect(middle.last).toBeGreaterThanOrEqual(10_020 + 8);
    expect(middle.last - middle.first).toBeLessThan(80);
    expect(rangeOf(0, 560, 28, 3)).toEqual({ first: 0, last: 3 });
  });

  it('scrolls no further than it must', () => {
    const element = { scrollTop: 280, clientHeight: 280 } as HTMLElement;
    scrollToRow(element, 12, 28, 0);
    expect(element.scrollTop).toBe(280);
    scrollToRow(element, 20, 28, 0);
    expect(element.scrollTop).toBe(20 * 28 + 28 - 280);
    scrollToRow(element, 1_000, 28, 0);
    expect(element.scrollTop).toBe(28_000 - 140);
  });
});
