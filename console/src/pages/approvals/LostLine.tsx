import { Alert } from '@mantine/core';

import { relative } from '@/ui/format/duration';
import { clock } from '@/ui/format/time';
import { useNow } from '@/ui/now';

import { type State, who } from './model/decide';

/** Somebody else decided: who, what, when. */
export function LostLine({ state }: { state: Extract<State, { kind: 'lost' }> }) {
  const now = useNow();
  return (
    <Alert color="red" variant="outline" title={`${who(state.actor, state.decision)}${state.at ? ` ${relative(state.at, now)}` : ''}`} data-lost>
      {state.at ? `At ${clock(state.at)}. ` : ''}It cannot be decided again; nothing of yours counts.
    </Alert>
  );
}
