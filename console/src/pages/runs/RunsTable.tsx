import { useNavigate } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type Dispatch, type RefObject, type SetStateAction, useCallback, useEffect, useId, useState } from 'react';

import type { RunLine } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { ErrorBox } from '@/ui/ErrorBox';
import { count } from '@/ui/format/count';

import { COLUMNS } from './columns';
import { Further } from './Further';
import { Row } from './Row';
import { WINDOW } from './queries';
import styles from './runs.module.css';

interface RunsTableProps {
  readonly grid: RefObject<HTMLDivElement | null>;
  readonly rows: readonly RunLine[];
  readonly chosen: readonly string[];
  readonly choose: Dispatch<SetStateAction<readonly string[]>>;
  /** Reads the next page; null while there is none to read. */
  readonly more: (() => void) | null;
  /** What comes after the last row: more of this window, more if one asks for it, another window, or nothing. */
  readonly end: 'more' | 'further' | 'window' | 'all';
  /** How far back was looked, when one has to ask for more. */
  readonly looked: number | null;
  readonly older: () => void;
  /** The rows are still those of the filter before. */
  readonly waiting: boolean;
  readonly failed: unknown;
  /** Told which rows are in view. */
  readonly inView: (first: number, last: number) => void;
}

const ROW_PX = 28;
const ROW_PHONE_PX = 44;
/** The next page is asked for when this many rows are left below. */
const AHEAD = 60;

/** The list: only the rows in view are in the page, and the keys move a cursor over all of them. */
export function RunsTable({ grid, rows, chosen, choose, more, end, looked, older, waiting, failed, inView }: RunsTableProps) {
  const name = useId();
  const navigate = useNavigate();
  const [at, setAt] = useState<string | null>(null);
  const phone = globalThis.matchMedia('(max-width: 48em)').matches;
  // eslint-disable-next-line react-hooks/incompatible-library -- its functions are not memoised here
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => grid.current,
    estimateSize: () => (phone ? ROW_PHONE_PX : ROW_PX),
    getItemKey: (i) => rows[i]?.id ?? i,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const firstShown = items[0]?.index ?? 0;
  const lastShown = items.at(-1)?.index ?? 0;
  useEffect(() => inView(firstShown, lastShown), [inView, firstShown, lastShown]);
  useEffect(() => {
    if (more && end === 'more' && !failed && !waiting && lastShown >= rows.length - AHEAD) more();
  }, [more, end, failed, waiting, lastShown, rows.length]);

  const place = rows.findIndex((row) => row.id === at);
  const move = (to: number): void => {
    const next = rows[Math.max(0, Math.min(rows.length - 1, to))];
    if (!next) return;
    setAt(next.id);
    virtual.scrollToIndex(rows.indexOf(next));
  };
  const toggle = useCallback(
    (id: string): void => choose((old) => (old.includes(id) ? old.filter((one) => one !== id) : [...old, id])),
    [choose],
  );
  const open = (id: string): void => void navigate({ to: '/runs/$id', params: { id } });
  const here = rows[place];
  useKeys('List of runs', [
    { keys: 'j', words: 'next run', run: () => move(place + 1) },
    { keys: 'k', words: 'run before', run: () => move(place - 1) },
    { keys: 'ArrowDown', words: 'next run', run: () => move(place + 1) },
    { keys: 'ArrowUp', words: 'run before', run: () => move(place - 1) },
    { keys: 'PageDown', words: 'a screen down', run: () => move(place + 20) },
    { keys: 'PageUp', words: 'a screen up', run: () => move(place - 20) },
    { keys: 'Home', words: 'the newest', run: () => move(0) },
    { keys: 'End', words: 'the last one loaded', run: () => move(rows.length - 1) },
    { keys: 'Enter', words: 'open', run: () => here && open(here.id) },
    { keys: 'x', words: 'select', run: () => here && toggle(here.id) },
    {
      keys: 'c',
      words: 'compare the two that are selected',
      run: () => {
        const [left, right] = chosen;
        if (left && right && chosen.length === 2) void navigate({ to: '/runs/$left/vs/$right', params: { left, right } });
      },
    },
  ], grid);

  return (
    <div
      ref={grid}
      role="grid"
      aria-label="runs"
      aria-rowcount={end === 'all' ? rows.length + 1 : -1}
      aria-multiselectable="true"
      aria-activedescendant={here ? `${name}-${here.id}` : undefined}
      aria-busy={waiting}
      tabIndex={0}
      className={styles.grid}
    >
      <div role="row" aria-rowindex={1} className={`${styles.row} ${styles.head}`}>
        {COLUMNS.map((column) => <div key={column.id} role="columnheader" className={column.className}>{column.head}</div>)}
      </div>
      <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map((item) => {
          const run = rows[item.index];
          if (!run) return null;
          return (
            <Row
              key={run.id}
              id={`${name}-${run.id}`}
              run={run}
              index={item.index + 2}
              top={item.start}
              height={item.size}
              here={run.id === at}
              chosen={chosen.includes(run.id)}
              toggle={toggle}
              point={setAt}
            />
          );
        })}
      </div>
      <div role="row" className={styles.foot}>
        <div role="gridcell">
          {failed ? <ErrorBox error={failed} {...(more ? { retry: more } : {})} /> : <Foot end={end} rows={rows.length} looked={looked} older={older} more={more} />}
        </div>
      </div>
    </div>
  );
}

interface FootProps extends Pick<RunsTableProps, 'end' | 'looked' | 'older' | 'more'> {
  readonly rows: number;
}

function Foot({ end, rows, looked, older, more }: FootProps) {
  if (end === 'more') return <span>reading…</span>;
  if (end === 'further') return <Further looked={looked} busy={more === null} go={() => more?.()} />;
  if (end === 'all') return <span>{count(rows)} runs. These are all.</span>;
  return (
    <button type="button" className={styles.drop} onClick={older}>
      {count(rows)} runs are shown, at most {count(WINDOW)} at a time. Go on with older ones
    </button>
  );
}
