import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react';

import styles from '@/ui/ui.module.css';

/** A screen reader is interrupted at most this often by what merely changed. */
const POLITE_MS = 10_000;

interface Announcer {
  /** Says something when there is a pause: at most every ten seconds, the latest wins. */
  readonly polite: (words: string) => void;
  /** Says something at once: states of a kill, a lost decision. */
  readonly assertive: (words: string) => void;
}

const Announce = createContext<Announcer>({ polite: () => undefined, assertive: () => undefined });

/** The two live regions of the page. */
export function AnnounceProvider({ children }: { children: ReactNode }) {
  const [polite, setPolite] = useState('');
  const [assertive, setAssertive] = useState('');
  const last = useRef(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const sayPolitely = useCallback((words: string) => {
    clearTimeout(timer.current);
    const say = (): void => {
      last.current = Date.now();
      setPolite(words);
    };
    timer.current = setTimeout(say, Math.max(0, last.current + POLITE_MS - Date.now()));
  }, []);
  const announcer = useMemo(() => ({ polite: sayPolitely, assertive: setAssertive }), [sayPolitely]);
  return (
    <Announce value={announcer}>
      {children}
      <div aria-live="polite" className={styles.visuallyHidden}>{polite}</div>
      <div aria-live="assertive" className={styles.visuallyHidden}>{assertive}</div>
    </Announce>
  );
}

/** The page's announcer for screen readers. */
export function useAnnounce(): Announcer {
  return useContext(Announce);
}
