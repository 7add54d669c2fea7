import { memo } from 'react';

import { percent } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';

import { criticalParts } from './model/axis';
import { criticalWords } from './model/words';
import type { TraceModel } from './model/trace';
import styles from './run.module.css';

/** Where the time went: the chain of calls and waits that the end had to wait for, by what it was. */
export const CriticalBar = memo(function CriticalBar({ model, next }: { model: TraceModel; next: () => void }) {
  const parts = criticalParts(model.critical_share);
  if (parts.length === 0) return null;
  return (
    <section aria-label="critical path" className={styles.critical}>
      <strong>critical path</strong>
      <div role="img" aria-label={criticalWords(model.total, parts)} className={styles.criticalBar}>
        {parts.map(({ part, share }) => (
          <span key={part} data-part={part} style={{ flexGrow: share }} title={`${part}: ${percent(share)}, ${duration(share * model.total)}`} />
        ))}
      </div>
      <ul className={styles.legend}>
        {parts.map(({ part, share }) => <li key={part}><span data-part={part} className={styles.swatch} aria-hidden="true" />{part} {percent(share)}</li>)}
      </ul>
      <button type="button" className={styles.chip} onClick={next} aria-keyshortcuts="n">next call of it <kbd>n</kbd></button>
    </section>
  );
});
