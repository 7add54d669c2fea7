import styles from './ui.module.css';

interface Mark {
  readonly shape: string;
  readonly color: string;
  readonly word?: string;
  readonly inverse?: boolean;
}

/** How a run stands (`RunLine.shown`): the outcomes, and what comes before one. */
export const STANDINGS: Record<string, Mark> = {
  succeeded: { shape: '●', color: 'var(--allow)' },
  failed: { shape: '×', color: 'var(--bad)' },
  exhausted: { shape: '▽', color: 'var(--flag)' },
  refused: { shape: '■', color: 'var(--deny)' },
  escalated: { shape: '◆', color: 'var(--hold)' },
  cancelled: { shape: '○', color: 'var(--quiet)' },
  killed: { shape: '■', color: 'var(--ink)', inverse: true },
  running: { shape: '▸', color: 'var(--allow)' },
  queued: { shape: '…', color: 'var(--quiet)' },
  waiting: { shape: '◌', color: 'var(--quiet)' },
  waiting_approval: { shape: '◆', color: 'var(--hold)', word: 'needs approval' },
  in_doubt: { shape: '?', color: 'var(--bad)', word: 'in doubt' },
  retrying: { shape: '↻', color: 'var(--flag)' },
  paused: { shape: '‖', color: 'var(--quiet)' },
  stopping: { shape: '◪', color: 'var(--bad)' },
  quarantined: { shape: '⊘', color: 'var(--bad)' },
};

/** How a run stands, by shape, colour and word. */
export function Outcome({ shown }: { shown: string }) {
  const mark = STANDINGS[shown] ?? { shape: '?', color: 'var(--quiet)' };
  const word = mark.word ?? shown;
  if (mark.inverse) return <span className={`${styles.mark} ${styles.inverse}`}>{word}</span>;
  return (
    <span className={styles.mark} style={{ color: mark.color }}>
      <span className={styles.shape} aria-hidden="true">{mark.shape}</span>
      <span>{word}</span>
    </span>
  );
}
