import { NativeSelect } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { useCan, useMe } from '@/app/session';
import { delegationsQuery } from '@/pages/people/queries';

/** By whose right the caller decides; "" = their own. */
export interface Behalf {
  readonly now: string;
  /** Who has handed theirs to the caller. */
  readonly givers: readonly string[];
  readonly choose: (giver: string) => void;
}

/** The rights that the caller could decide by, and the one that is chosen: their own until they say otherwise. */
export function useBehalf(): Behalf {
  const can = useCan();
  const me = useMe().actor;
  const { data } = useQuery({ ...delegationsQuery, enabled: can('approvals:decide') });
  const [chosen, choose] = useState('');
  const givers = [...new Set((data?.items ?? []).filter((one) => one.to === me && one.giver !== me).map((one) => one.giver))].sort();
  return { now: givers.includes(chosen) ? chosen : '', givers, choose };
}

/** Asks for whom the caller decides, where somebody has handed them their right. */
export function ByWhoseRight({ behalf }: { behalf: Behalf }) {
  if (behalf.givers.length === 0) return null;
  return <NativeSelect size="xs" maw={320} label="decide" data={[{ value: '', label: 'by your own right' }, ...behalf.givers.map((giver) => ({ value: giver, label: `for ${giver}` }))]} value={behalf.now} onChange={(event) => behalf.choose(event.currentTarget.value)} data-behalf />;
}
