import { memo } from 'react';

import { count } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Drawn } from '@/ui/Theirs';
import { Verdict, VERDICTS } from '@/ui/Verdict';

import { foldCalls, foldName, foldTimes, type Row as TreeRow } from '../model/fold';
import { type Bracket, loopName } from '../model/loops';
import { stateThen, thenOf } from '../model/tape';
import { kindOf, nameOf, RUN, STATE, STATE_WORDS, type TraceModel } from '../model/trace';
import { rowWords } from '../model/words';
import styles from '../run.module.css';

const SHAPES = ['', '▸', '◆', '■', '?', '×'];

interface RowProps {
  readonly id: string;
  readonly model: TraceModel;
  readonly row: TreeRow;
  readonly index: number;
  readonly top: number;
  readonly height: number;
  readonly here: boolean;
  readonly selected: boolean;
  readonly at: number | null;
  readonly bracket: Bracket | null;
  readonly toggle: (id: string) => void;
  readonly point: (row: TreeRow) => void;
}

/** A row of the waterfall: name, verdict, bracket. The bars are on the canvas; the label says them in words. */
export const Row = memo(function Row({ id, model, row, index, top, height, here, selected, at, bracket, toggle, point }: RowProps) {
  const ghost = row.span !== null && row.span !== RUN && thenOf(model, row.span, at) === 'not yet';
  return (
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the grid has the focus and the keys
    <div
      id={id}
      role="row"
      tabIndex={-1}
      aria-level={row.level}
      aria-posinset={row.place}
      aria-setsize={row.of}
      aria-rowindex={index + 1}
      aria-expanded={row.expanded ?? undefined}
      aria-selected={selected}
      aria-label={rowWords(model, row, at)}
      data-here={here || undefined}
      data-ghost={ghost || undefined}
      className={styles.row}
      style={{ top, height }}
      onClick={() => point(row)}
    >
      <div role="gridcell" className={styles.name} style={{ paddingInlineStart: Math.min(row.level - 1, 12) * 14 }}>
        {row.expanded === null ? (
          <span className={styles.twisty} />
        ) : (
          <button
            type="button"
            tabIndex={-1}
            aria-hidden="true"
            className={styles.twisty}
            onClick={(event) => {
              event.stopPropagation();
              toggle(row.id);
            }}
          >
            {row.expanded ? '▾' : '▸'}
          </button>
        )}
        <Name model={model} row={row} at={at} />
      </div>
      <div role="gridcell" className={styles.verdict}>{ghost ? null : <Gutter model={model} row={row} />}</div>
      <div role="gridcell" className={styles.bracket} data-at={bracket?.at} title={bracket ? (model.loops[bracket.loop]?.said ?? '') : undefined} />
      <div role="gridcell" className={styles.barsCell}>
        {bracket && (bracket.at === 'begin' || bracket.at === 'alone') ? <LoopLabel model={model} loop={bracket.loop} /> : null}
      </div>
    </div>
  );
});

function Name({ model, row, at }: { model: TraceModel; row: TreeRow; at: number | null }) {
  if (row.fold) {
    return (
      <span className={styles.cut} title={foldName(row.fold)}>
        {row.fold.kind === 'pattern' ? <><Drawn text={foldCalls(row.fold)} /> </> : null}
        <strong>{foldTimes(row.fold)}</strong>
        {row.fold.failed > 0 ? <span className={styles.bad}> {count(row.fold.failed)} failed</span> : null}
        {row.fold.held > 0 ? <span className={styles.held}> {count(row.fold.held)} held</span> : null}
        {row.fold.nano > 0 ? <span className={styles.quiet}> {money(row.fold.nano)}</span> : null}
        {row.fold.kind === 'stretch' ? <span className={styles.quiet}> <Drawn text={foldCalls(row.fold)} /></span> : null}
      </span>
    );
  }
  const span = row.span ?? RUN;
  const state = span === RUN ? STATE.ok : stateThen(model, span, at);
  const same = span === RUN ? 0 : (model.same[span] ?? 0);
  return (
    <span className={styles.cut} title={rowWords(model, row, at)}>
      {SHAPES[state] ? <span className={styles.state} data-state={STATE_WORDS[state]}>{SHAPES[state]} </span> : null}
      {span === RUN ? null : <span className={styles.quiet}>{model.path[span]} </span>}
      <Drawn text={nameOf(model, span)} />
      {span === RUN || kindOf(model, span) === nameOf(model, span) ? null : <span className={styles.quiet}> {kindOf(model, span)}</span>}
      {span !== RUN && (model.attempts[span] ?? 0) > 1 ? <span className={styles.quiet}> ↻{model.attempts[span]}</span> : null}
      {same > 0 ? <span className={styles.quiet} title="has the same name and arguments as other calls"> ≡</span> : null}
    </span>
  );
}

function Gutter({ model, row }: { model: TraceModel; row: TreeRow }) {
  const worst = row.fold ? row.fold.verdict : row.span === null || row.span === RUN ? -1 : (model.verdict[row.span] ?? 0);
  const word = VERDICTS[worst];
  if (!word) return null;
  // Nothing remarkable is the rule: only a point, so that the others stand out.
  return word === 'allow' ? <span className={styles.allowed} title="allow" /> : <Verdict verdict={word} bare />;
}

function LoopLabel({ model, loop }: { model: TraceModel; loop: number }) {
  const shown = model.loops[loop];
  if (!shown) return null;
  return (
    <span className={styles.loopLabel}>
      ↻ <Drawn text={loopName(shown)} /> {shown.nano > 0 ? `${money(shown.nano)} since the last new fact` : 'nothing new'}
    </span>
  );
}
