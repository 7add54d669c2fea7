import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';

import { count } from '@/ui/format/count';

import { waitingQuery } from './queries';

/** The runs that wait for a budget, and what it takes that they go on. */
export function Waiting({ name }: { name: string }) {
  const { data } = useQuery(waitingQuery(name));
  if (!data || data.runs === 0) return null;
  const many = `${data.more ? 'at least ' : ''}${count(data.runs)} ${data.runs === 1 ? 'run waits' : 'runs wait'}`;
  return (
    <Text mt="xs" data-waiting>
      ◌ <Link to="/runs" search={{ waiting_for: 'budget' }}>{many} for this budget</Link>. Raised, it wakes {data.runs === 1 ? 'it' : 'them'}; each goes on that fits.
    </Text>
  );
}
