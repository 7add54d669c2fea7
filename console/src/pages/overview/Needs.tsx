import { Anchor, Paper, Text } from '@mantine/core';
import { Link, useNavigate } from '@tanstack/react-router';

import { useEffect, useRef } from 'react';

import type { Need, Overview } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useKeys } from '@/app/keys';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { localPath } from './localPath';
import styles from './overview.module.css';

/** What needs a person, the most urgent first; the digits open them. */
export function Needs({ overview }: { overview: Overview }) {
  const navigate = useNavigate();
  const needs = overview.needs.slice(0, 9);
  const { polite } = useAnnounce();
  const said = needs[0] ? `${overview.needs.length} need you. ${needs[0].words}` : '';
  const before = useRef(said);
  useEffect(() => {
    if (said && said !== before.current) polite(said);
    before.current = said;
  }, [said, polite]);
  useKeys(
    'Overview',
    needs.map((need, i) => ({ keys: String(i + 1), words: need.words, run: () => void navigate({ href: localPath(need.link) }) })),
  );
  if (needs.length === 0) {
    return (
      <Paper withBorder p="sm">
        <Text>● Nothing needs you{overview.quiet_since ? <>: all quiet since <When at={overview.quiet_since} /></> : '.'}</Text>
      </Paper>
    );
  }
  return (
    <Paper withBorder p="sm" component="section" aria-label="needs you" className={styles.needs}>
      <Text fw={700}>! {overview.needs.length} {overview.needs.length === 1 ? 'needs' : 'need'} you</Text>
      <ol className={styles.list}>
        {needs.map((need, i) => <Line key={need.kind + need.words} need={need} number={i + 1} />)}
      </ol>
      {overview.needs.length > needs.length ? <Text size="sm">and {overview.needs.length - needs.length} more</Text> : null}
    </Paper>
  );
}

function Line({ need, number }: { need: Need; number: number }) {
  return (
    <li>
      <kbd aria-hidden="true">{number}</kbd>
      <Anchor renderRoot={(props) => <Link to={localPath(need.link)} {...props} />}>
        <Drawn text={need.words} />
      </Anchor>
      {need.since ? <span className={styles.since}>since <When at={need.since} /></span> : null}
    </li>
  );
}
