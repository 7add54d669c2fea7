// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';

import type { Change } from '@/api/schema';

import { Changes } from './Arguments';

const show = (changes: readonly Change[], unknown = ''): void => {
  render(<MantineProvider env="test"><Changes changes={changes} unknown={unknown} /></MantineProvider>);
};

afterEach(cleanup);

it('shows what is there before and what is there after, and draws what one would not see', () => {
  show([{ what: 'order 1182: refunded', before: '$0.00', after: '$49.00' }, { what: 'note', before: '', after: 'a\u202eb' }]);
  const rows = screen.getAllByRole('row').slice(1);
  expect(rows.map((row) => row.textContent)).toEqual(['order 1182: refunded$0.00$49.00', 'noteaRLOb']);
  expect(document.querySelector('del')?.textContent).toBe('$0.00');
  expect(document.querySelector('ins')?.textContent).toBe('$49.00');
});

it('says why the state before is unknown, and shows no table then', () => {
  show([], 'its preview failed: LookupError: no order <b>7</b>');
  expect(screen.getByText(/^The state before is unknown: its preview failed: LookupError: no order <b>7<\/b>\.$/)).toBeTruthy();
  expect(screen.queryByRole('table')).toBeNull();
});

it('says that nothing would change, where its tool says so', () => {
  show([]);
  expect(screen.getByText('Its tool says that nothing would change.')).toBeTruthy();
});
