import { describe, expect, it } from 'vitest';

import { fieldsOf, oneLine } from './text';

describe('what a run answered', () => {
  it('is told by its fields', () => {
    expect(fieldsOf({ left_to_do: [], tags: ['a', 'b'], reply: 'Hello', score: 0.9, more: { x: 1 } })).toEqual([
      { name: 'left to do', text: 'none' }, { name: 'tags', text: 'a, b' }, { name: 'reply', text: 'Hello' }, { name: 'score', text: '0.9' },
      { name: 'more', text: '{\n  "x": 1\n}' },
    ]);
  });

  it.each([['words'], [7], [null], [undefined], [['a']], [{}]])('has no fields when it is %j', (value) => expect(fieldsOf(value)).toBeNull());

  it('is one line, what is empty at its end, cut when it is long', () => {
    expect(oneLine([{ name: 'actions', text: 'none' }, { name: 'reply', text: 'two\nlines' }])).toBe('reply: two lines · actions: none');
    expect(oneLine([{ name: 'reply', text: 'x'.repeat(500) }])).toMatch(/^reply: x{98}…$/);
  });
});
