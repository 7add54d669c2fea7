import { memo } from 'react';

import { plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Drawn } from '@/ui/Theirs';

import type { TraceModel } from './model/trace';
import styles from './run.module.css';

const SHOWN = 5;

/** Calls that were repeated without anything new coming back: how often, what it cost, and where. */
export const Loops = memo(function Loops({ model, reveal }: { model: TraceModel; reveal: (span: number) => void }) {
  if (model.loops.length === 0) return null;
  const stops = model.events.filter((mark) => mark.kind === 'limit.reached' || mark.kind === 'control.applied');
  return (
    <section aria-label="loops" className={styles.loops}>
      <ul>
        {model.loops.slice(0, SHOWN).map((loop, i) => {
          const first = loop.spans[0];
          return (
            <li key={i}>
              <span aria-hidden="true">↻</span>{' '}
              <button type="button" className={styles.linkButton} disabled={first === undefined} onClick={() => first !== undefined && reveal(first)}>
                <Drawn text={loop.said} />
              </button>
              {loop.nano > 0 ? <> · {money(loop.nano)} since the last new fact</> : null}
            </li>
          );
        })}
        {model.loops.length > SHOWN ? <li>{plural(model.loops.length - SHOWN, 'loop')} more, marked by brackets</li> : null}
        {stops.slice(-3).map((mark) => <li key={mark.seq} className={styles.quiet}><Drawn text={mark.words} /></li>)}
      </ul>
    </section>
  );
});
