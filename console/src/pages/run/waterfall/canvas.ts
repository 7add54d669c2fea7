import { useComputedColorScheme } from '@mantine/core';
import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';

import { type Colors, readColors } from './colors';

/** The width of an element in pixels of the page, 0 before it is known. */
export function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const box = element.current;
    if (!box) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.floor(entry.contentRect.width));
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, [element]);
  return width;
}

/** Draws on a canvas whenever something it draws has changed, sharp on any screen. Before the browser paints. */
export function useDrawing(width: number, height: number, draw: (ctx: CanvasRenderingContext2D, colors: Colors) => void): RefObject<HTMLCanvasElement | null> {
  const canvas = useRef<HTMLCanvasElement>(null);
  const colors = useRef<{ scheme: string; colors: Colors } | null>(null);
  const scheme = useComputedColorScheme('light');
  useLayoutEffect(() => {
    const element = canvas.current;
    const ctx = element?.getContext('2d');
    if (!element || !ctx || width <= 0 || height <= 0) return;
    if (colors.current?.scheme !== scheme) colors.current = { scheme, colors: readColors(element) };
    const ratio = globalThis.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    // Setting a size clears the canvas and makes a new buffer even when it is the same.
    if (element.width !== wide) element.width = wide;
    if (element.height !== high) element.height = high;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(ctx, colors.current.colors);
  }, [width, height, draw, scheme]);
  return canvas;
}
