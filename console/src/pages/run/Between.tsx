import { memo } from 'react';

import { count, plural } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { Drawn } from '@/ui/Theirs';

import type { TraceModel } from './model/trace';
import styles from './run.module.css';

const SHOWN = 200;

/** What happened to the run between its calls: claims, parks, limits, controls. */
export const Between = memo(function Between({ model, set }: { model: TraceModel; set: (at: number) => void }) {
  if (model.events.length === 0) return null;
  const shown = model.events.slice(-SHOWN);
  return (
    <details className={styles.between}>
      <summary>{plural(model.events.length, 'event')} between the calls</summary>
      {shown.length < model.events.length ? <p className={styles.quiet}>The last {count(SHOWN)}; the tape has all.</p> : null}
      <ol>
        {shown.map((mark) => (
          <li key={mark.seq}>
            <button type="button" className={styles.linkButton} onClick={() => set(mark.seq)} title="to this place of the tape">seq {count(mark.seq)}</button>
            <span className={styles.quiet}> {duration(mark.at)} </span>
            <Drawn text={mark.words} />
          </li>
        ))}
      </ol>
    </details>
  );
});
