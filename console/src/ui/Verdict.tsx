import styles from './ui.module.css';

/** Verdicts as the trace numbers them. */
export const VERDICTS = ['allow', 'flag', 'hold', 'deny'] as const;
export type VerdictWord = (typeof VERDICTS)[number];

interface Mark {
  readonly shape: string;
  readonly color: string;
}

export const VERDICT_MARKS: Record<VerdictWord, Mark> = {
  allow: { shape: '●', color: 'var(--allow)' },
  flag: { shape: '▲', color: 'var(--flag)' },
  hold: { shape: '◆', color: 'var(--hold)' },
  deny: { shape: '■', color: 'var(--deny)' },
};

/** A verdict: shape, colour and word; `bare` leaves the word to screen readers. */
export function Verdict({ verdict, bare = false }: { verdict: string; bare?: boolean }) {
  const mark = VERDICT_MARKS[verdict as VerdictWord] ?? { shape: '?', color: 'var(--quiet)' };
  return (
    <span className={styles.mark} style={{ color: mark.color }}>
      <span className={styles.shape} aria-hidden="true">{mark.shape}</span>
      <span className={bare ? styles.visuallyHidden : undefined}>{verdict}</span>
    </span>
  );
}
