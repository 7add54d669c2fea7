import { useQuery } from '@tanstack/react-query';

import { ApiProblem } from '@/api/problem';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';

import styles from './approvals.module.css';
import { useBehalf } from './Behalf';
import { Card, type Done } from './Card';
import { LostLine } from './LostLine';
import { LOOKING, step } from './model/decide';
import { approvalQuery } from './queries';

interface QuestionProps {
  readonly id: string;
  /** Whether the person has gone to this card, asked once: then it takes the focus. */
  readonly takesFocus: () => boolean;
  readonly decided: (done: Done) => void;
  readonly next: () => void;
}

/** Reads one question and shows its card. What has been shown stays when it is decided elsewhere, its keys dead. */
export function Question({ id, takesFocus, decided, next }: QuestionProps) {
  const behalf = useBehalf();
  const { data, error, refetch } = useQuery(approvalQuery(id, behalf.now));
  // Another card for another right: nothing that was armed for the one counts for the other.
  if (data) return <Card key={behalf.now} approval={data} problem={error} behalf={behalf} takesFocus={takesFocus} decided={decided} next={next} refresh={() => void refetch()} />;
  if (!error) return <Loading rows={10} />;
  const state = step(LOOKING, { kind: 'gone', problem: ApiProblem.of(error) });
  if (state.kind === 'lost') return <div className={styles.card}><LostLine state={state} /></div>;
  return <ErrorBox error={error} retry={() => void refetch()} />;
}
