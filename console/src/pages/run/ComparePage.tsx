import { Group, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useMemo, useRef } from 'react';

import type { DiffRow, RunDiff } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { money } from '@/ui/format/money';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { Pair } from './compare/Pair';
import { kindOf, nameOf, type TraceModel } from './model/trace';
import { diffQuery, traceQuery } from './queries';
import styles from './run.module.css';
import { scrollToRow, useRange } from './waterfall/rows';

/** Where do two runs part, and what did that cost? */
export function ComparePage() {
  const { left, right } = useParams({ from: '/inside/runs/$left/vs/$right' });
  const diff = useQuery(diffQuery(left, right));
  const one = useQuery(traceQuery(left));
  const other = useQuery(traceQuery(right));
  const error = diff.error ?? one.error ?? other.error;
  if (error) return <ErrorBox error={error} retry={() => void Promise.all([diff.refetch(), one.refetch(), other.refetch()])} />;
  if (!diff.data || !one.data || !other.data) return <Loading rows={12} />;
  return <Compared key={`${left} ${right}`} diff={diff.data} left={one.data} right={other.data} />;
}

const more = (n: number, words: (n: number) => string, up: string, down: string, equal: string): string => (n === 0 ? equal : `${words(Math.abs(n))} ${n > 0 ? up : down}`);

function Compared({ diff, left, right }: { diff: RunDiff; left: TraceModel; right: TraceModel }) {
  const search = useSearch({ from: '/inside/runs/$left/vs/$right' });
  const navigate = useNavigate({ from: '/runs/$left/vs/$right' });
  const differing = useMemo(() => diff.rows.flatMap((row, i) => (row.place === 'same' ? [] : [i])), [diff.rows]);
  const asked = Number(search.row);
  const chosen = search.row !== undefined && Number.isInteger(asked) && diff.rows[asked] ? asked : diff.first;
  const go = (row: number | undefined): void => {
    if (row !== undefined && diff.rows[row]) void navigate({ search: { row: String(row) }, replace: true, resetScroll: false });
  };
  const row = chosen === null ? undefined : diff.rows[chosen];
  return (
    <div className={styles.page}>
      <Group gap="sm">
        <Title order={1}>Compare</Title>
        <Side word="left" model={left} />
        <Side word="right" model={right} />
      </Group>
      <p className={styles.sentence}>
        {diff.first === null ? 'The calls of both are the same.' : diff.skipped + diff.first === 0 ? 'They differ from the first call on.' : `They part after ${plural(diff.skipped + diff.first, 'equal call')}.`}{' '}
        The right one was {more(diff.duration, duration, 'longer', 'shorter', 'as long')}, {more(diff.nano, money, 'dearer', 'cheaper', 'as dear')}, and took{' '}
        {diff.steps === 0 ? 'as many steps' : `${plural(Math.abs(diff.steps), 'step')} ${diff.steps > 0 ? 'more' : 'fewer'}`}{left.ended && right.ended ? '' : ', of what there is so far'}.
      </p>
      {diff.rows.length === 0 ? <Empty words="Neither has made a call." /> : (
        <div className={styles.split}>
          <Rows diff={diff} left={left} right={right} chosen={chosen} go={go} next={(by) => go(by > 0 ? differing.find((i) => i > (chosen ?? -1)) : differing.findLast((i) => i < (chosen ?? 0)))} />
          <aside className={styles.detail} aria-label="the chosen pair">
            {row ? <Pair row={row} left={left} right={right} /> : <p className={styles.quiet}>Nothing differs.</p>}
          </aside>
        </div>
      )}
    </div>
  );
}

function Side({ word, model }: { word: string; model: TraceModel }) {
  return (
    <span>
      {word}: <Link to="/runs/$id" params={{ id: model.run }}><Drawn text={model.agent} /> <Id id={model.run} still /></Link>
    </span>
  );
}

const ROW = 28;
const MARKS: Readonly<Record<string, string>> = { same: '=', changed: '≠', only_left: '−', only_right: '+' };
const PLACES: Readonly<Record<string, string>> = { same: 'the same', changed: 'changed', only_left: 'only left', only_right: 'only right' };

interface RowsProps {
  readonly diff: RunDiff;
  readonly left: TraceModel;
  readonly right: TraceModel;
  readonly chosen: number | null;
  readonly go: (row: number | undefined) => void;
  readonly next: (by: number) => void;
}

function Rows({ diff, left, right, chosen, go, next }: RowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const { first, last } = useRange(box, ROW, diff.rows.length);
  const move = (row: number): void => {
    const to = Math.max(0, Math.min(diff.rows.length - 1, row));
    if (box.current) scrollToRow(box.current, to, ROW, 0);
    go(to);
  };
  useKeys('Compared calls', [
    { keys: 'j', words: 'next pair', run: () => move((chosen ?? -1) + 1) },
    { keys: 'k', words: 'pair before', run: () => move((chosen ?? 1) - 1) },
    { keys: 'ArrowDown', words: 'next pair', run: () => move((chosen ?? -1) + 1) },
    { keys: 'ArrowUp', words: 'pair before', run: () => move((chosen ?? 1) - 1) },
    { keys: 'n', words: 'next difference', run: () => next(1) },
    { keys: 'p', words: 'difference before', run: () => next(-1) },
  ], box);
  return (
    <div className={styles.left}>
      {diff.skipped > 0 ? <p className={styles.quiet}>{plural(diff.skipped, 'equal call')} before these folded</p> : null}
      <div className={styles.pairHead} aria-hidden="true"><span>left</span><span /><span>right</span><span>differs in</span></div>
      <div ref={box} role="listbox" aria-label="calls of both runs" aria-activedescendant={chosen === null ? undefined : `pair-${chosen}`} tabIndex={0} className={styles.grid} style={{ height: diff.rows.length * ROW + 2 }}>
        <div style={{ height: diff.rows.length * ROW, position: 'relative' }} role="presentation">
          {diff.rows.slice(first, last).map((row, k) => (
            <PairRow key={first + k} row={row} index={first + k} of={diff.rows.length} left={left} right={right} chosen={first + k === chosen} go={go} />
          ))}
        </div>
      </div>
      {diff.more > 0 ? <p className={styles.quiet}>{plural(diff.more, 'row')} after these not shown</p> : null}
    </div>
  );
}

function PairRow({ row, index, of, left, right, chosen, go }: { row: DiffRow; index: number; of: number; left: TraceModel; right: TraceModel; chosen: boolean; go: (row: number) => void }) {
  const name = (model: TraceModel, span: number | null | undefined): string => (span === null || span === undefined ? '' : `${model.path[span] ?? ''} ${nameOf(model, span)} ${kindOf(model, span)}`);
  const words = `${PLACES[row.place] ?? row.place}: ${name(left, row.left) || 'nothing'} and ${name(right, row.right) || 'nothing'}${row.differs.length > 0 ? `, differ in ${row.differs.join(', ')}` : ''}`;
  return (
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus -- the list has the focus and the keys
    <div id={`pair-${index}`} role="option" aria-selected={chosen} aria-posinset={index + 1} aria-setsize={of} aria-label={words} className={styles.pairRow} data-place={row.place} data-here={chosen || undefined} style={{ top: index * ROW, height: ROW }} onClick={() => go(index)}>
      <span className={styles.cut}><Drawn text={name(left, row.left)} /></span>
      <span aria-hidden="true" className={styles.pairMark}>{MARKS[row.place] ?? '?'}</span>
      <span className={styles.cut}><Drawn text={name(right, row.right)} /></span>
      <span className={`${styles.cut} ${styles.quiet}`}>{row.differs.join(', ')}</span>
    </div>
  );
}
