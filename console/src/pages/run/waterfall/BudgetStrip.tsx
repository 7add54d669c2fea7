import { useCallback, useRef } from 'react';

import type { BudgetMark, BudgetPoint, BudgetShown, RunShown } from '@/api/schema';

import type { Axis, View } from '../model/axis';
import { budgetWords, markWords, pointAsOf, resourceOf } from '../model/budget';
import { nameOf, type TraceModel } from '../model/trace';
import styles from '../run.module.css';
import type { Viewing } from '../useView';
import { useDrawing, useWidth } from './canvas';
import type { Colors } from './colors';
import { drawBudget } from './drawBudget';

const HEIGHT = 64;

/** What was spent and reserved, on the axis of the waterfall, with the thresholds and the calls that crossed them. */
export function BudgetStrip({ model, run, viewing, at, reveal }: { model: TraceModel; run: RunShown; viewing: Viewing; at: number | null; reveal: (span: number) => void }) {
  const resource = resourceOf(model.budget, run.budget);
  const point = at === null ? (model.budget.at(-1) ?? null) : pointAsOf(model.budget, at);
  const marks = model.marks.filter((mark) => at === null || mark.seq <= at);
  return (
    <section aria-label="budget" className={styles.budget}>
      <div className={styles.budgetWords}>
        <strong>budget</strong> {budgetWords(point, resource)}
      </div>
      <Strip points={model.budget} limits={run.budget} axis={viewing.axis} view={viewing.view} until={point?.seq ?? 0} />
      {marks.length > 0 ? (
        <ul className={styles.marks}>
          {marks.map((mark) => <li key={`${mark.resource}${mark.level}`}><MarkButton mark={mark} model={model} reveal={reveal} /></li>)}
        </ul>
      ) : null}
    </section>
  );
}

interface StripProps {
  readonly points: readonly BudgetPoint[];
  readonly limits: BudgetShown;
  readonly axis: Axis;
  readonly view: View;
  readonly until: number;
}

function Strip({ points, limits, axis, view, until }: StripProps) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const draw = useCallback(
    (ctx: CanvasRenderingContext2D, colors: Colors) => drawBudget(ctx, { points, resource: resourceOf(points, limits), axis, view, width, height: HEIGHT, until, colors }),
    [points, limits, axis, view, width, until],
  );
  const canvas = useDrawing(width, HEIGHT, draw);
  return <div ref={box} className={styles.budgetBars}><canvas ref={canvas} aria-hidden="true" className={styles.canvas} style={{ width, height: HEIGHT }} /></div>;
}

/** A threshold: it leads to the call that crossed it. */
function MarkButton({ mark, model, reveal }: { mark: BudgetMark; model: TraceModel; reveal: (span: number) => void }) {
  const known = mark.span >= 0 && mark.span < model.count;
  const words = markWords(mark);
  if (!known) return <span className={styles.chip}>{words}</span>;
  return (
    <button type="button" className={styles.chip} data-level={mark.level} onClick={() => reveal(mark.span)}>
      {words}, by {nameOf(model, mark.span)} {model.path[mark.span]}
    </button>
  );
}
