import 'uplot/dist/uPlot.min.css';

import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

import { cumulated, type Stack } from './model';

interface PlotProps {
  readonly stack: Stack;
  readonly height: number;
  readonly axis: (ticks: readonly number[]) => string[];
}

const DAY_SECONDS = 86_400;
const seconds = (us: number): number => us / 1_000_000;

/** The canvas of a stacked bar chart. For eyes only: the chart around it says the same in words. */
export default function Plot({ stack, height, axis }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme('light');
  const shape = stack.series.map((one) => one.label + one.color).join('\n');
  const latest = useRef({ stack, axis });
  useEffect(() => {
    latest.current = { stack, axis };
  });

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const options = makeOptions(element, latest.current.stack, height, (ticks) => latest.current.axis(ticks));
    const made = new uPlot(options, dataOf(latest.current.stack), element);
    plot.current = made;
    const resize = new ResizeObserver(([entry]) => {
      if (entry) made.setSize({ width: Math.max(120, Math.floor(entry.contentRect.width)), height });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
    // The colours are read from the page when the chart is made: another scheme is another chart.
  }, [shape, height, scheme]);

  useEffect(() => plot.current?.setData(dataOf(stack)), [stack]);

  return <div ref={box} aria-hidden="true" />;
}

/** The tallest first, so that each lower part of the stack is drawn over it. */
function dataOf(stack: Stack): uPlot.AlignedData {
  const middle = stack.at.map((at) => seconds(at + stack.width / 2));
  return [middle, ...cumulated(stack).toReversed()];
}

function makeOptions(element: HTMLElement, stack: Stack, height: number, axis: (ticks: readonly number[]) => string[]): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (css: string): string => {
    const name = /^var\((--[\w-]+)\)$/.exec(css)?.[1];
    return name ? style.getPropertyValue(name).trim() : css;
  };
  const ink = color('var(--quiet)');
  const line = color('var(--line)');
  const grid = { stroke: line, width: 1 };
  const half = seconds(stack.width) / 2;
  // Of sums by day no hours are named: there are none in them.
  const incrs = seconds(stack.width) >= DAY_SECONDS ? { incrs: [1, 2, 3, 7, 14].map((days) => days * DAY_SECONDS) } : {};
  const bars = uPlot.paths.bars?.({ size: [0.85, 140], gap: 0 });
  return {
    width: Math.max(120, element.clientWidth),
    height,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: (_, min, max) => [min - half, max + half] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.05 : 1] } },
    axes: [
      { stroke: ink, grid: { show: false }, ticks: grid, size: 28, ...incrs, values: (_, ticks) => timeLabels(ticks) },
      { stroke: ink, grid, ticks: { show: false }, size: 64, values: (_, ticks) => axis(ticks) },
    ],
    series: [
      {},
      ...stack.series.toReversed().map((one): uPlot.Series => ({
        label: one.label,
        fill: color(one.color),
        width: 0,
        points: { show: false },
        ...(bars ? { paths: bars } : {}),
      })),
    ],
  };
}

function timeLabels(ticks: readonly number[]): string[] {
  const span = (ticks.at(-1) ?? 0) - (ticks[0] ?? 0);
  const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
  const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
  return ticks.map((tick, i) => {
    const date = new Date(tick * 1000);
    const before = ticks[i - 1];
    const newDay = before === undefined ? span > 86_400 : new Date(before * 1000).getDate() !== date.getDate();
    return newDay ? day.format(date) : time.format(date);
  });
}
