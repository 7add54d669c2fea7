import { useCallback, useMemo, useState } from 'react';

import { matching, openAtFirst, type Rows, rowsOf, spanId } from './model/fold';
import { above, type Landmarks, landmarks, RUN, spanAt, type TraceModel } from './model/trace';

/** The tree as it is open now. */
export interface Tree {
  readonly rows: Rows;
  /** The span that was asked to be seen last; another object is another asking. */
  readonly target: { readonly span: number } | null;
  readonly toggle: (id: string, open?: boolean) => void;
  /** Opens the way to a span, unfolds it, and has it scrolled to. */
  readonly reveal: (span: number) => void;
}

function kept(revealed: ReadonlySet<number>, { failure, denied, current, dearest }: Landmarks): ReadonlySet<number> {
  return new Set([...revealed, ...[failure ?? denied, current, dearest].filter((span) => span !== null)]);
}

/** Which rows are open: at first the ways to what matters, then whatever the reader opens. */
export function useTree(model: TraceModel, linked: string | undefined, filter: string): Tree {
  const seen = useMemo(() => landmarks(model), [model]);
  const [revealed, setRevealed] = useState<ReadonlySet<number>>(() => {
    const span = spanAt(model, linked);
    return new Set(span === null ? [] : [span]);
  });
  const keep = useMemo(() => kept(revealed, seen), [revealed, seen]);
  const [open, setOpen] = useState<ReadonlySet<string>>(() => openAtFirst(model, keep));
  const [target, setTarget] = useState<{ span: number } | null>(() => {
    const span = spanAt(model, linked) ?? seen.failure ?? seen.current ?? seen.denied;
    return span === null ? null : { span };
  });
  const match = useMemo(() => matching(model, filter), [model, filter]);
  const rows = useMemo(() => rowsOf(model, open, keep, match), [model, open, keep, match]);

  const toggle = useCallback((id: string, want?: boolean) => {
    setOpen((old) => {
      const next = new Set(old);
      if (want ?? !old.has(id)) next.add(id);
      else next.delete(id);
      return next;
    });
  }, []);
  const reveal = useCallback(
    (span: number) => {
      setRevealed((old) => (old.has(span) ? old : new Set([...old, span])));
      setOpen((old) => new Set([...old, spanId(model, RUN), ...above(model, span).map((i) => spanId(model, i))]));
      setTarget({ span });
    },
    [model],
  );
  return useMemo(() => ({ rows, target, toggle, reveal }), [rows, target, toggle, reveal]);
}
