import { type FocusEvent, type KeyboardEvent, type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

import { armedAt, type Attention } from './model/decide';

export interface Watched {
  /** Whether a press at this moment counts: exact, where `armed` lags by a render. */
  readonly isArmed: () => boolean;
  readonly armed: boolean;
  readonly focused: boolean;
  readonly endSeen: boolean;
  readonly seeEnd: (seen: boolean) => void;
  readonly onFocus: () => void;
  readonly onBlur: (event: FocusEvent) => void;
}

/** A key that is held must press no button, and confirm no line: browsers repeat the click. */
export function noRepeatedPress(event: KeyboardEvent): void {
  if (event.repeat && (event.key === 'Enter' || event.key === ' ') && !(event.target instanceof HTMLTextAreaElement)) event.preventDefault();
}

/** Milliseconds of a clock that only goes forward. */
export const ticks = (): number => performance.now();

/**
 * Watches whether the card has been in the focus, unchanged, for long enough. `what` is what the card says (`said`);
 * `left` is called when the focus leaves the card or the window.
 */
export function useAttention(card: RefObject<HTMLElement | null>, what: string, left: () => void): Watched {
  const exact = useRef<Attention>({ focused: null, changed: Infinity, endSeen: false });
  const [attention, show] = useState<Attention>({ focused: null, changed: Infinity, endSeen: false });
  const [armed, setArmed] = useState(false);
  const set = useCallback((part: Partial<Attention>): void => {
    exact.current = { ...exact.current, ...part };
    show(exact.current);
  }, []);
  const isArmed = useCallback((): boolean => {
    const at = armedAt(exact.current);
    return at !== null && ticks() >= at;
  }, []);

  // Before the browser shows what is new: no press on it may count for what was there before.
  useLayoutEffect(() => set({ changed: ticks(), endSeen: false }), [what, set]);
  useEffect(() => {
    const at = armedAt(attention);
    const timer = setTimeout(() => setArmed(isArmed()), at === null ? 0 : Math.max(0, at - ticks()) + 1);
    return () => {
      clearTimeout(timer);
      setArmed(false);
    };
  }, [attention, isArmed]);

  const leaving = useRef(left);
  useEffect(() => {
    leaving.current = left;
  });
  const onFocus = useCallback((): void => {
    if (exact.current.focused === null) set({ focused: ticks() });
  }, [set]);
  const onBlur = useCallback(
    (event: FocusEvent): void => {
      if (event.relatedTarget instanceof Node && card.current?.contains(event.relatedTarget)) return;
      // A button that goes away takes the focus with it for a moment, until the next one is given it.
      setTimeout(() => {
        if (document.hasFocus() && card.current?.contains(document.activeElement)) return;
        set({ focused: null });
        leaving.current();
      });
    },
    [card, set],
  );
  const seeEnd = useCallback(
    (seen: boolean): void => {
      if (seen && !exact.current.endSeen) set({ endSeen: true });
    },
    [set],
  );
  return { isArmed, armed, focused: attention.focused !== null, endSeen: attention.endSeen, seeEnd, onFocus, onBlur };
}
