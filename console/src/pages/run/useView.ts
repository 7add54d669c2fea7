import { useCallback, useMemo, useState } from 'react';

import { type Axis, axisOf, type AxisMode, held, panned, showing, type View, whole, zoomed } from './model/axis';
import type { TraceModel } from './model/trace';

/** The axis, the part of it that is in view, and how to move it. */
export interface Viewing {
  readonly axis: Axis;
  readonly view: View;
  readonly isWhole: boolean;
  readonly zoom: (factor: number, around?: number) => void;
  readonly pan: (share: number) => void;
  readonly fit: () => void;
  readonly show: (span: number) => void;
}

/** The view belongs to its axis: another axis begins whole, and a whole one stays whole while the run goes on. */
export function useView(model: TraceModel, mode: AxisMode): Viewing {
  const axis = useMemo(() => axisOf(model, mode), [model, mode]);
  const [chosen, setChosen] = useState<{ mode: AxisMode; view: View } | null>(null);
  const mine = chosen?.mode === mode ? chosen.view : null;
  const view = useMemo(() => (mine ? held(mine, axis) : whole(axis)), [mine, axis]);
  const change = useCallback(
    (how: (view: View) => View) =>
      setChosen((old) => {
        const next = how(old?.mode === mode ? held(old.view, axis) : whole(axis));
        return next.from <= 0 && next.to >= axis.total ? null : { mode, view: next };
      }),
    [axis, mode],
  );
  const zoom = useCallback((factor: number, around?: number) => change((old) => zoomed(old, axis, factor, around)), [change, axis]);
  const pan = useCallback((share: number) => change((old) => panned(old, axis, share)), [change, axis]);
  const fit = useCallback(() => setChosen(null), []);
  const show = useCallback((span: number) => change((old) => showing(old, axis, axis.begin[span] ?? 0, axis.end[span] ?? 0)), [change, axis]);
  const isWhole = mine === null;
  return useMemo(() => ({ axis, view, isWhole, zoom, pan, fit, show }), [axis, view, isWhole, zoom, pan, fit, show]);
}
