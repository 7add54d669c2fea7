import { type RefObject, useCallback, useEffect, useId, useMemo, useRef, useState } from 'react';

import { useKeys } from '@/app/keys';

import { criticalBySpan, ticks } from '../model/axis';
import { type Row as TreeRow, spanId } from '../model/fold';
import { bracketsOf, loopOf } from '../model/loops';
import { RUN, type TraceModel } from '../model/trace';
import type { Tree } from '../useTree';
import type { Viewing } from '../useView';
import styles from '../run.module.css';
import { useDrawing, useWidth } from './canvas';
import type { Colors } from './colors';
import { drawRows, drawScale } from './draw';
import { Row } from './Row';
import { scrollToRow, useRange } from './rows';

interface WaterfallProps {
  readonly grid: RefObject<HTMLDivElement | null>;
  readonly model: TraceModel;
  readonly tree: Tree;
  readonly viewing: Viewing;
  readonly selected: number | null;
  readonly select: (span: number) => void;
  readonly at: number | null;
  readonly time: number | null;
  readonly step: (by: number) => void;
  readonly nextCritical: () => void;
}

const ROW = 28;
const HEAD = 26;
const ROWS_MIN = 4;

/** The spans of a run: a tree in words, and beside it, on a canvas, when each was and what became of it. */
export function Waterfall({ grid, model, tree, viewing, selected, select, at, time, step, nextCritical }: WaterfallProps) {
  const name = useId();
  const bars = useRef<HTMLDivElement>(null);
  const width = useWidth(bars);
  const { rows } = tree.rows;
  const { toggle } = tree;
  const { first, last } = useRange(grid, ROW, rows.length);
  const [cursor, setCursor] = useState<string | null>(null);
  const here = cursor ?? (selected === null ? null : spanId(model, selected));
  const place = useMemo(() => rows.findIndex((row) => row.id === here), [rows, here]);
  const critical = useMemo(() => criticalBySpan(model.critical), [model.critical]);
  const loops = useMemo(() => loopOf(model), [model]);
  const brackets = useMemo(() => (model.loops.length > 0 ? bracketsOf(rows, loops) : null), [rows, loops, model.loops.length]);
  const { axis, view } = viewing;
  const until = time === null ? axis.total : axis.place(time);

  const draw = useCallback(
    (ctx: CanvasRenderingContext2D, colors: Colors) => drawRows(ctx, { model, axis, view, rows, rowHeight: ROW, width, at, until, critical, colors }, first, last),
    [model, axis, view, rows, width, at, until, critical, first, last],
  );
  const canvas = useDrawing(width, (last - first) * ROW, draw);
  const drawHead = useCallback(
    (ctx: CanvasRenderingContext2D, colors: Colors) => drawScale(ctx, { model, axis, view, width, at, colors }, ticks(view, width / 110, axis.mode), HEAD),
    [model, axis, view, width, at],
  );
  const scale = useDrawing(width, HEAD, drawHead);

  const goTo = useCallback(
    (index: number): void => {
      const row = rows[Math.max(0, Math.min(rows.length - 1, index))];
      if (!row || !grid.current) return;
      setCursor(row.id);
      scrollToRow(grid.current, rows.indexOf(row), ROW, HEAD);
      if (row.span !== null && row.span !== RUN) select(row.span);
    },
    [rows, grid, select],
  );
  const point = useCallback(
    (row: TreeRow): void => {
      setCursor(row.id);
      if (row.span !== null && row.span !== RUN) select(row.span);
      else toggle(row.id);
    },
    [select, toggle],
  );
  useScrollToTarget(grid, tree, model, setCursor);
  useWheelZoom(grid, bars, viewing);
  useGridKeys({ grid, rows, place, goTo, tree, viewing, step, nextCritical });

  const lineAt = time === null ? null : ((until - view.from) / (view.to - view.from)) * width;
  const total = rows.length * ROW;
  return (
    <div
      ref={grid}
      role="treegrid"
      aria-label="calls of the run"
      aria-rowcount={rows.length}
      aria-colcount={4}
      aria-activedescendant={place >= first && place < last ? `${name}-${here ?? ''}` : undefined}
      tabIndex={0}
      className={styles.grid}
      style={{ height: Math.max(ROWS_MIN, rows.length) * ROW + HEAD + 2 }}
    >
      <div className={styles.gridHead} aria-hidden="true">
        <span className={styles.headName}>call</span>
        <span className={styles.verdict}>⚖</span>
        <span />
        <div ref={bars} className={styles.scale}><canvas ref={scale} className={styles.canvas} style={{ width, height: HEAD }} /></div>
      </div>
      <div role="rowgroup" className={styles.rows} style={{ height: total }}>
        {rows.slice(first, last).map((row, k) => {
          const index = first + k;
          return (
            <Row
              key={row.id}
              id={`${name}-${row.id}`}
              model={model}
              row={row}
              index={index}
              top={index * ROW}
              height={ROW}
              here={index === place}
              selected={row.span !== null && row.span === selected}
              at={at}
              bracket={brackets?.get(index) ?? null}
              toggle={toggle}
              point={point}
            />
          );
        })}
        <div className={styles.barsLayer} style={{ top: first * ROW }} aria-hidden="true">
          <canvas ref={canvas} className={styles.canvas} style={{ width, height: (last - first) * ROW }} />
        </div>
        {lineAt !== null && lineAt >= 0 && lineAt <= width ? (
          <div className={styles.barsLayer} style={{ top: 0, height: total }} aria-hidden="true">
            <div className={styles.atLine} style={{ transform: `translateX(${lineAt}px)` }} />
          </div>
        ) : null}
      </div>
    </div>
  );
}

/** What was asked to be seen is scrolled to once its row is there. */
function useScrollToTarget(grid: RefObject<HTMLDivElement | null>, tree: Tree, model: TraceModel, setCursor: (id: string | null) => void): void {
  const done = useRef<Tree['target']>(null);
  useEffect(() => {
    const element = grid.current;
    if (!element || !tree.target || done.current === tree.target) return;
    const id = spanId(model, tree.target.span);
    const index = tree.rows.rows.findIndex((row) => row.id === id);
    if (index < 0) return;
    done.current = tree.target;
    scrollToRow(element, index, ROW, HEAD);
    // The cursor follows what is selected again.
    setCursor(null);
  }, [grid, tree, model, setCursor]);
}

/** Ctrl and the wheel zoom around the pointer; React's own wheel handlers cannot keep the page from zooming. */
function useWheelZoom(grid: RefObject<HTMLDivElement | null>, bars: RefObject<HTMLDivElement | null>, viewing: Viewing): void {
  const { zoom, pan } = viewing;
  useEffect(() => {
    const element = grid.current;
    if (!element) return undefined;
    const wheel = (event: WheelEvent): void => {
      const box = bars.current?.getBoundingClientRect();
      if (!box || event.clientX < box.left) return;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(Math.exp(Math.max(-50, Math.min(50, event.deltaY)) * 0.01), (event.clientX - box.left) / box.width);
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        pan(event.deltaX / box.width);
      }
    };
    element.addEventListener('wheel', wheel, { passive: false });
    return () => element.removeEventListener('wheel', wheel);
  }, [grid, bars, zoom, pan]);
}

interface KeyParts {
  readonly grid: RefObject<HTMLDivElement | null>;
  readonly rows: readonly TreeRow[];
  readonly place: number;
  readonly goTo: (index: number) => void;
  readonly tree: Tree;
  readonly viewing: Viewing;
  readonly step: (by: number) => void;
  readonly nextCritical: () => void;
}

function useGridKeys({ grid, rows, place, goTo, tree, viewing, step, nextCritical }: KeyParts): void {
  const row = rows[place];
  const page = (): number => Math.max(1, Math.floor((grid.current?.clientHeight ?? ROW * 10) / ROW) - 2);
  const right = (): void => {
    if (row?.expanded === false) tree.toggle(row.id, true);
    else if (row?.expanded) goTo(place + 1);
  };
  const left = (): void => {
    if (row?.expanded) tree.toggle(row.id, false);
    else if (row) goTo(rows.findLastIndex((other, i) => i < place && other.level < row.level));
  };
  useKeys('Calls of the run', [
    { keys: 'j', words: 'next row', run: () => goTo(place + 1) },
    { keys: 'k', words: 'row before', run: () => goTo(place - 1) },
    { keys: 'ArrowDown', words: 'next row', run: () => goTo(place + 1) },
    { keys: 'ArrowUp', words: 'row before', run: () => goTo(place - 1) },
    { keys: 'ArrowRight', words: 'open, or into it', run: right },
    { keys: 'ArrowLeft', words: 'close, or to what it is in', run: left },
    { keys: 'Enter', words: 'open or close', run: () => row && row.expanded !== null && tree.toggle(row.id) },
    { keys: 'PageDown', words: 'a screen down', run: () => goTo(place + page()) },
    { keys: 'PageUp', words: 'a screen up', run: () => goTo(place - page()) },
    { keys: 'Home', words: 'the run', run: () => goTo(0) },
    { keys: 'End', words: 'the last row', run: () => goTo(rows.length - 1) },
    { keys: 'w', words: 'zoom in', run: () => viewing.zoom(0.6) },
    { keys: 's', words: 'zoom out', run: () => viewing.zoom(1 / 0.6) },
    { keys: 'a', words: 'to the left', run: () => viewing.pan(-0.25) },
    { keys: 'd', words: 'to the right', run: () => viewing.pan(0.25) },
    { keys: 'f', words: 'fit the whole run', run: viewing.fit },
    { keys: 'z', words: 'zoom to the call', run: () => row !== undefined && row.span !== null && row.span !== RUN && viewing.show(row.span) },
    { keys: 'n', words: 'next call of the critical path', run: nextCritical },
    { keys: ',', words: 'an event back on the tape', run: () => step(-1) },
    { keys: '.', words: 'an event on', run: () => step(1) },
  ], grid);
}

