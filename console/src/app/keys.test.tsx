// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { useRef } from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { KeysProvider, useKeyRegistry, useKeys } from './keys';

const everywhere = vi.fn();
const pair = vi.fn();
const inside = vi.fn();

function Page({ dialog = false }: { dialog?: boolean }) {
  const region = useRef<HTMLDivElement>(null);
  const { turn } = useKeyRegistry();
  useKeys('Everywhere', [{ keys: '?', words: 'help', run: everywhere }, { keys: 'g r', words: 'runs', run: pair }]);
  useKeys('List', [{ keys: 'j', words: 'next', run: inside }], region);
  return (
    <>
      <div ref={region}>
        <button type="button">row</button>
        <input aria-label="note" />
      </div>
      <button type="button" onClick={() => turn(false)}>off</button>
      {dialog ? <div role="dialog" aria-modal="true" /> : null}
    </>
  );
}

const press = (key: string, init: KeyboardEventInit = {}): void => void fireEvent.keyDown(document.activeElement ?? document.body, { key, ...init });
const show = (dialog = false) => render(<KeysProvider><Page dialog={dialog} /></KeysProvider>);

beforeEach(() => {
  vi.clearAllMocks();
  localStorage.clear();
});
afterEach(cleanup);

describe('keys', () => {
  it('of a region act only while the focus is in it', () => {
    show();
    press('j');
    expect(inside).not.toHaveBeenCalled();
    screen.getByText('row').focus();
    press('j');
    expect(inside).toHaveBeenCalledTimes(1);
  });

  it('never act while something is typed', () => {
    show();
    screen.getByLabelText('note').focus();
    press('j');
    press('?');
    expect(inside).not.toHaveBeenCalled();
    expect(everywhere).not.toHaveBeenCalled();
  });

  it('may be two in a row, and no other in between', () => {
    show();
    press('g');
    press('r');
    expect(pair).toHaveBeenCalledTimes(1);
    press('g');
    press('x');
    press('r');
    expect(pair).toHaveBeenCalledTimes(1);
  });

  it('leave the shortcuts of the browser alone', () => {
    show();
    press('?', { ctrlKey: true });
    expect(everywhere).not.toHaveBeenCalled();
  });

  it('of the page do not act behind a dialog', () => {
    show(true);
    press('?');
    expect(everywhere).not.toHaveBeenCalled();
  });

  it('can be turned off, and stay off', () => {
    const { unmount } = show();
    fireEvent.click(screen.getByText('off'));
    press('?');
    unmount();
    show();
    press('?');
    expect(everywhere).not.toHaveBeenCalled();
  });
});
