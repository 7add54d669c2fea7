import { Button } from '@mantine/core';
import { useRef, useState } from 'react';

import type { Content } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { bytes } from '@/ui/format/count';
import { Theirs } from '@/ui/Theirs';

import { PIECE, readPiece } from '../queries';
import styles from '../run.module.css';
import { asMessages, asText, hiddenWords, type MessageShown } from './text';

/** A piece of content under its heading: whose words it is, how long, and the rest on demand. Only ever text. */
export function ContentView({ run, heading, content }: { run: string; heading: string; content: Content | null }) {
  if (!content) return null;
  const messages = content.hidden ? null : asMessages(content.value);
  return (
    <section className={styles.content}>
      <h3>{heading} <span className={styles.quiet}>{content.size > 0 ? bytes(content.size) : ''}{content.cut ? ', cut' : ''}</span></h3>
      {content.hidden ? <p className={styles.quiet}>{hiddenWords(content.hidden)}</p> : null}
      {messages ? messages.map((message, i) => <Message key={message.ref ?? i} run={run} message={message} />) : null}
      {!content.hidden && !messages && content.value !== null ? <Theirs text={asText(content.value)} /> : null}
      {content.cut && content.ref && !messages ? <Whole run={run} contentRef={content.ref} size={content.size} /> : null}
    </section>
  );
}

function Message({ run, message }: { run: string; message: MessageShown }) {
  return (
    <div className={styles.message}>
      {message.hidden ? <p className={styles.quiet}>{hiddenWords(message.hidden)}</p> : null}
      {message.parts?.map((part, i) => (
        <Theirs key={i} text={part.text ?? ''} label={[message.role, part.part?.replace('_', ' '), part.name, part.status].filter(Boolean).join(' · ')} />
      ))}
      {message.cut && message.ref ? <Whole run={run} contentRef={message.ref} size={message.size ?? 0} /> : null}
    </div>
  );
}

interface Read {
  readonly pieces: readonly string[];
  readonly offset: number;
  readonly size: number;
}

/** The whole of what was cut, as it is stored, 64 kB at a time. */
function Whole({ run, contentRef, size }: { run: string; contentRef: string; size: number }) {
  const [read, setRead] = useState<Read>({ pieces: [], offset: 0, size });
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  // A character may be cut in two between pieces: the decoder keeps its first half.
  const decoder = useRef<TextDecoder | null>(null);
  const more = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const piece = await readPiece(run, contentRef, read.offset);
      decoder.current ??= new TextDecoder();
      const offset = read.offset + piece.bytes.length;
      const over = offset >= piece.size || piece.bytes.length === 0;
      const text = decoder.current.decode(piece.bytes, { stream: !over });
      setRead({ pieces: [...read.pieces, text], offset: over ? piece.size : offset, size: piece.size });
    } catch (caught) {
      setError(caught);
    } finally {
      setBusy(false);
    }
  };
  const left = read.size - read.offset;
  return (
    <div>
      {read.pieces.map((piece, i) => <Theirs key={i} text={piece} {...(i === 0 ? { label: 'as stored' } : {})} />)}
      {error ? <ErrorBox error={error} retry={() => void more()} /> : null}
      {left > 0 ? (
        <Button size="compact-xs" variant="default" mt={4} loading={busy} onClick={() => void more()}>
          {read.offset === 0 ? 'Read it whole' : 'Go on'}: {bytes(Math.min(PIECE, left))} of {bytes(left)} left
        </Button>
      ) : (
        <p className={styles.quiet}>That is all of it.</p>
      )}
    </div>
  );
}
