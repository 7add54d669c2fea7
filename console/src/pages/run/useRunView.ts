import { type RefObject, useCallback, useMemo } from 'react';

import { useAnnounce } from '@/app/announce';

import { type AxisMode, criticalAfter } from './model/axis';
import { seqOf, spanOf, stepped, timesOf } from './model/tape';
import { landmarks, nameOf, opening, spanAt, type TraceModel } from './model/trace';
import { usePlace } from './place';
import { type Tree, useTree } from './useTree';
import { useView, type Viewing } from './useView';

/** Everything that the parts of the page share: what is chosen, open, in view, and where on the tape. */
export interface RunView {
  readonly tree: Tree;
  readonly viewing: Viewing;
  readonly axis: AxisMode;
  readonly filter: string;
  readonly selected: number | null;
  readonly at: number | null;
  /** When that was, in microseconds after the submission; null at the end of the tape. */
  readonly time: number | null;
  readonly select: (span: number) => void;
  readonly reveal: (span: number) => void;
  readonly setAt: (at: number | null) => void;
  readonly step: (by: number) => void;
  readonly nextCritical: () => void;
  readonly setAxis: (axis: AxisMode) => void;
  readonly setFilter: (filter: string) => void;
}

/** The state of the page, most of it in its address. */
export function useRunView(model: TraceModel, grid: RefObject<HTMLDivElement | null>): RunView {
  const { place, go } = usePlace();
  const announce = useAnnounce();
  const tree = useTree(model, place.span, place.filter);
  const viewing = useView(model, place.axis);
  const linked = spanAt(model, place.span);
  const first = useMemo(() => opening(model, landmarks(model)), [model]);
  const at = seqOf(place.at, model.asOf);
  const selected = linked ?? (at === null ? first : spanOf(model, at));
  const times = useMemo(() => (at === null ? null : timesOf(model)), [model, at]);
  const time = at === null ? null : (times?.[at] ?? 0);

  const select = useCallback((span: number) => go({ span: model.path[span] }), [go, model]);
  const { reveal: open } = tree;
  const { filter } = place;
  const reveal = useCallback(
    (span: number) => {
      if (span < 0 || span >= model.count) return;
      open(span);
      // What a filter hides cannot be scrolled to.
      go({ span: model.path[span], ...(filter && !tree.rows.rows.some((row) => row.span === span) ? { filter: undefined } : {}) });
      grid.current?.focus({ preventScroll: true });
    },
    [open, go, model, filter, tree.rows, grid],
  );
  const setAt = useCallback(
    (next: number | null) => {
      // The choice follows the tape: what the event is about is what the detail shows.
      const span = next === null ? null : spanOf(model, next);
      go({ at: next === null ? undefined : String(next), ...(span === null ? {} : { span: model.path[span] }) });
      if (span !== null) announce.polite(`event ${next}, ${nameOf(model, span)}`);
    },
    [go, model, announce],
  );
  const step = useCallback((by: number) => setAt(stepped(at, by, model.asOf)), [setAt, at, model.asOf]);
  const nextCritical = useCallback(() => {
    const next = criticalAfter(model.critical, selected);
    if (next !== null) reveal(next);
  }, [model.critical, selected, reveal]);
  const setAxis = useCallback((axis: AxisMode) => go({ axis: axis === 'time' ? undefined : axis }), [go]);
  const setFilter = useCallback((text: string) => go({ filter: text || undefined }), [go]);
  return { tree, viewing, axis: place.axis, filter, selected, at, time, select, reveal, setAt, step, nextCritical, setAxis, setFilter };
}
