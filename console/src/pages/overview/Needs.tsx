import { Anchor, Paper, Text } from '@mantine/core';
import { Link, useNavigate } from '@tanstack/react-router';

import { useEffect, useRef } from 'react';

import type { Need, Overview } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useKeys } from '@/app/keys';
import { plural } from '@/ui/format/count';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { placeOf } from './placeOf';
import styles from './overview.module.css';

/** What needs a person, the most urgent first; the digits open them. */
export function Needs({ overview }: { overview: Overview }) {
  const navigate = useNavigate();
  const needs = overview.needs.slice(0, 9);
  const { polite } = useAnnounce();
  const said = needs[0] ? `${plural(overview.needs.length, 'thing needs', 'things need')} you. ${needs[0].words}` : '';
  const before = useRef(said);
  useEffect(() => {
    if (said && said !== before.current) polite(said);
    before.current = said;
  }, [said, polite]);
  useKeys(
    'Overview',
    needs.flatMap((need, i) => {
      const place = placeOf(need.link);
      return place ? [{ keys: String(i + 1), words: need.words, run: () => void navigate(place) }] : [];
    }),
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
      <Text fw={700}>! {overview.needs.length === 1 ? '1 thing needs' : `${overview.needs.length} things need`} you</Text>
      <ol className={styles.list}>
        {needs.map((need, i) => <Line key={need.kind + need.words} need={need} number={i + 1} />)}
      </ol>
      {overview.needs.length > needs.length ? <Text size="sm">and {overview.needs.length - needs.length} more</Text> : null}
    </Paper>
  );
}

/** The server's words; what it puts between backticks is a command. */
function Said({ words }: { words: string }) {
  return words.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : <Drawn key={i} text={part} />));
}

function Line({ need, number }: { need: Need; number: number }) {
  const place = placeOf(need.link);
  return (
    <li>
      {place ? (
        <>
          <kbd aria-hidden="true">{number}</kbd>
          <Anchor renderRoot={(props) => <Link {...place} {...props} />}><Said words={need.words} /></Anchor>
        </>
      ) : <span><Said words={need.words} /></span>}
      {need.since ? <span className={styles.since}>since <When at={need.since} /></span> : null}
    </li>
  );
}
