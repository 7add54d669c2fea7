import { useMemo } from 'react';

import { useNow } from '@/ui/now';

import type { TraceModel } from '../model/trace';

/** Above this, what goes on grows with events only: laying all of it out anew each second would cost frames. */
const SPANS_MAX = 10_000;

/** The trace with its end at the present while the run goes on, so that what is open is seen to grow. */
export function useGoing(model: TraceModel): TraceModel {
  const now = useNow();
  const end = model.ended || model.count > SPANS_MAX ? model.total : Math.max(model.total, now - model.submittedAt);
  return useMemo(() => (end === model.total ? model : { ...model, total: end }), [model, end]);
}
