// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, describe, expect, it } from 'vitest';

import { FilterBar } from './FilterBar';
import type { RunsSearch } from './search';

const gone: RunsSearch[] = [];
const now = (): RunsSearch | undefined => gone.at(-1);

function Page({ start }: { start: RunsSearch }) {
  const [search, setSearch] = useState(start);
  const go = (next: RunsSearch): void => {
    gone.push(next);
    setSearch(next);
  };
  return <MantineProvider env="test"><FilterBar search={search} go={go} /></MantineProvider>;
}

const field = (): HTMLInputElement => screen.getByLabelText('filter runs');
const type = (text: string): void => void fireEvent.change(field(), { target: { value: text } });
const press = (key: string): void => void fireEvent.keyDown(field(), { key });

afterEach(() => {
  cleanup();
  gone.length = 0;
});

describe('the search field', () => {
  it('adds what is typed to what is there', () => {
    render(<Page start={{ agent: 'a' }} />);
    type('outcome:failed cost:>0.05');
    press('Enter');
    expect(now()).toEqual({ agent: 'a', outcome: 'failed', min_nano: '50000000' });
    expect(screen.getByText('cost:>0.05')).toBeTruthy();
    expect(field().value).toBe('');
  });

  it('says what is wrong, and filters by nothing of it', () => {
    render(<Page start={{}} />);
    type('outcome:failed colour:red');
    press('Enter');
    expect(now()).toBeUndefined();
    expect(screen.getByText(/no filter colour/)).toBeTruthy();
    expect(field().value).toBe('outcome:failed colour:red');
  });

  it('gives the last token back to be changed', () => {
    render(<Page start={{ agent: 'a', session: 'b c' }} />);
    press('Backspace');
    expect(now()).toEqual({ agent: 'a' });
    expect(field().value).toBe('session:"b c"');
    press('Backspace');
    expect(now()).toEqual({ agent: 'a' });
  });

  it('drops one token, or all', () => {
    render(<Page start={{ agent: 'a', code: 'loop' }} />);
    fireEvent.click(screen.getByLabelText('drop agent'));
    expect(now()).toEqual({ code: 'loop' });
    fireEvent.click(screen.getByLabelText('drop all filters'));
    expect(now()).toEqual({});
  });
});
