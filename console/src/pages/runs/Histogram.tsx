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

/**
 * The same in bins that lie side by side, no more than `most` of them. The server leaves out those in which there was
 * nothing: without them what lies hours apart would look like one burst.
 */
export function fewer(bins: readonly TimeBin[], most: number): TimeBin[] {
  const first = bins[0];
  const last = bins.at(-1);
  if (!first || !last) return [];
  const end = last.at + last.width;
  const width = first.width * Math.max(1, Math.ceil((end - first.at) / first.width / Math.max(1, most)));
  const out = Array.from({ length: Math.ceil((end - first.at) / width) }, (_, i): TimeBin => {
    const at = first.at + i * width;
    return { at, width: Math.min(width, end - at), counts: {} };
  });
  for (const bin of bins) {
    const counts = out[Math.floor((bin.at - first.at) / width)]?.counts;
    if (counts) for (const [name, n] of Object.entries(bin.counts)) counts[name] = (counts[name] ?? 0) + n;
  }
  return out;
}

const sum = (bin: TimeBin): number => Object.values(bin.counts).reduce((total, n) => total + n, 0);
const bad = (bin: TimeBin): number => BAD.reduce((total, name) => total + (bin.counts[name] ?? 0), 0);

/** When the found runs were submitted. A bin is a way to go there: the list then begins at its end. */
export function Histogram({ bins, search, go }: HistogramProps) {
  const { ref, width } = useElementSize();
  const shown = fewer(bins ?? [], Math.floor(width / BIN_PX));
  const begin = shown[0];
  const end = shown.at(-1);
  if (!begin || !end || shown.length < 2) return <div ref={ref} className={styles.histogram} aria-hidden="true" />;
  const most = Math.max(1, ...shown.map(sum));
  return (
    <div ref={ref} className={styles.histogram} role="group" aria-label="when runs were submitted">
      <div className={styles.bins}>
        {shown.map((bin) => {
          const all = sum(bin);
          const failed = bad(bin);
          const words = `${minute(bin.at)}: ${plural(all, 'run')}${failed > 0 ? `, ${count(failed)} bad` : ''}`;
          return (
            <button key={bin.at} type="button" className={styles.bin} title={words} aria-label={`${words}. Go there`} onClick={() => go({ ...search, until: String(bin.at + bin.width - 1) })}>
              <span className={styles.binGood} style={{ height: `${((all - failed) / most) * 100}%` }} />
              <span className={styles.binBad} style={{ height: `${(failed / most) * 100}%` }} />
            </button>
          );
        })}
      </div>
      <div className={styles.span} aria-hidden="true">
        <span>submitted {minute(begin.at)}</span>
        <span>{minute(end.at + end.width)}</span>
      </div>
    </div>
  );
}

const minute = (at: number): string => `${day(at)} ${clock(at).slice(0, 5)}`;
