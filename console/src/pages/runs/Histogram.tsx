import { useElementSize } from '@mantine/hooks';

import type { TimeBin } from '@/api/schema';
import { count, plural } from '@/ui/format/count';
import { clock, day } from '@/ui/format/time';

import styles from './runs.module.css';
import type { RunsSearch } from './search';

const BAD = ['failed', 'exhausted', 'killed', 'quarantined', 'in_doubt'];

interface HistogramProps {
  readonly bins: readonly TimeBin[] | undefined;
  readonly search: RunsSearch;
  readonly go: (search: RunsSearch) => void;
}

/** Wide enough to be hit (WCAG 2.5.8), with the gap. */
const BIN_PX = 25;

/** Neighbouring bins put together, so that there are no more than `most`. */
export function fewer(bins: readonly TimeBin[], most: number): TimeBin[] {
  const factor = Math.max(1, Math.ceil(bins.length / Math.max(1, most)));
  const out: TimeBin[] = [];
  for (let i = 0; i < bins.length; i += factor) {
    const group = bins.slice(i, i + factor);
    const first = group[0];
    const last = group.at(-1);
    if (!first || !last) continue;
    const counts: Record<string, number> = {};
    for (const bin of group) for (const [name, n] of Object.entries(bin.counts)) counts[name] = (counts[name] ?? 0) + n;
    out.push({ at: first.at, width: last.at + last.width - first.at, counts });
  }
  return out;
}

const sum = (bin: TimeBin): number => Object.values(bin.counts).reduce((total, n) => total + n, 0);
const bad = (bin: TimeBin): number => BAD.reduce((total, name) => total + (bin.counts[name] ?? 0), 0);

/** When the found runs were submitted. A bin is a way to go there: the list then begins at its end. */
export function Histogram({ bins, search, go }: HistogramProps) {
  const { ref, width } = useElementSize();
  const shown = fewer(bins ?? [], Math.floor(width / BIN_PX));
  if (shown.length < 2) return <div ref={ref} className={styles.histogram} aria-hidden="true" />;
  const most = Math.max(1, ...shown.map(sum));
  return (
    <div ref={ref} className={styles.histogram} role="group" aria-label="when runs were submitted">
      {shown.map((bin) => {
        const all = sum(bin);
        const failed = bad(bin);
        const words = `${day(bin.at)} ${clock(bin.at).slice(0, 5)}: ${plural(all, 'run')}${failed > 0 ? `, ${count(failed)} bad` : ''}`;
        return (
          <button key={bin.at} type="button" className={styles.bin} title={words} aria-label={`${words}. Go there`} onClick={() => go({ ...search, until: String(bin.at + bin.width - 1) })}>
            <span className={styles.binGood} style={{ height: `${((all - failed) / most) * 100}%` }} />
            <span className={styles.binBad} style={{ height: `${(failed / most) * 100}%` }} />
          </button>
        );
      })}
    </div>
  );
}
