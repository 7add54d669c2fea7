import { Link } from '@tanstack/react-router';
import { memo } from 'react';

import type { RunLine } from '@/api/schema';
import { shortId } from '@/ui/format/count';

import { CELLS, submitted } from './columns';
import styles from './runs.module.css';

interface RowProps {
  readonly id: string;
  readonly run: RunLine;
  readonly index: number;
  readonly top: number;
  readonly height: number;
  readonly here: boolean;
  readonly chosen: boolean;
  readonly toggle: (id: string) => void;
  readonly point: (id: string) => void;
}

/** A run in the list. The whole row is its link. */
export const Row = memo(
  function Row({ id, run, index, top, height, here, chosen, toggle, point }: RowProps) {
    return (
      <div id={id} role="row" aria-rowindex={index} aria-selected={chosen} data-here={here || undefined} className={styles.row} style={{ position: 'absolute', top, height, left: 0, right: 0 }}>
        <div role="gridcell" className={styles.select}>
          <input type="checkbox" tabIndex={-1} checked={chosen} onChange={() => toggle(run.id)} aria-label={`select run ${run.id}`} />
        </div>
        <div role="gridcell">
          <Link to="/runs/$id" params={{ id: run.id }} tabIndex={-1} preload={false} className={styles.link} onClick={() => point(run.id)}>
            {submitted(run)}
          </Link>
        </div>
        <div role="gridcell" className={`${styles.wide} ${styles.mono}`} title={run.id}>{shortId(run.id)}</div>
        {CELLS.map((column) => <div key={column.id} role="gridcell" className={column.className}>{column.cell(run)}</div>)}
      </div>
    );
  },
  (a, b) => a.run === b.run && a.top === b.top && a.here === b.here && a.chosen === b.chosen && a.height === b.height && a.toggle === b.toggle,
);
