import { useQueries } from '@tanstack/react-query';

import { Drawn } from '@/ui/Theirs';

import { nameOf, type TraceModel } from './model/trace';
import { spanQuery } from './queries';
import styles from './run.module.css';

/** Runs up to this many calls are told sentence by sentence. */
export const TOLD_MAX = 7;

/** A short run, a sentence a call. */
export function Steps({ model, selected, reveal }: { model: TraceModel; selected: number | null; reveal: (span: number) => void }) {
  const told = useQueries({ queries: model.path.slice(0, TOLD_MAX).map((path) => spanQuery(model.run, path)) });
  return (
    <ol className={styles.steps} aria-label="what happened, step by step">
      {told.map(({ data }, span) => (
        <li key={model.path[span]} data-state={model.state[span]}>
          <button type="button" className={styles.step} aria-current={span === selected || undefined} onClick={() => reveal(span)}>
            <Drawn text={data?.sentence || nameOf(model, span)} />
          </button>
        </li>
      ))}
    </ol>
  );
}
