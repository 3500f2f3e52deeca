// SPDX-License-Identifier: MIT
import { useEffect, useRef, useState } from 'preact/hooks';
import type { RefObject } from 'preact';
import { hover } from '../store';

/* The width of an element in CSS pixels, 0 before the first layout; it may come after the component. */
export function useWidth(ref: RefObject<HTMLElement | null>): number {
	const [width, setWidth] = useState(0);
	const watched = useRef<{ element: HTMLElement; observer: ResizeObserver } | null>(null);
	useEffect(() => {
		const element = ref.current;
		if (element === (watched.current?.element ?? null)) return;
		watched.current?.observer.disconnect();
		watched.current = null;
		if (!element) return;
		const observer = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)));
		observer.observe(element);
		watched.current = { element, observer };
		setWidth(Math.floor(element.clientWidth));
	});
	useEffect(() => () => watched.current?.observer.disconnect(), []);
	return width;
}

/*
 * Is an element (or the section of that id) on the screen, or nearly? True before anything is known.
 * A page has two dozen charts: those that nobody sees need not follow the pointer.
 */
export function useInSight(where: RefObject<HTMLElement | null> | string): boolean {
	const [seen, setSeen] = useState(true);
	const watched = useRef<{ element: HTMLElement; observer: IntersectionObserver } | null>(null);
	useEffect(() => {
		const element = typeof where === 'string' ? document.getElementById(where) : where.current;
		if (element === (watched.current?.element ?? null)) return;
		watched.current?.observer.disconnect();
		watched.current = null;
		if (!element) return;
		const observer = new IntersectionObserver((entries) => setSeen(entries.at(-1)!.isIntersecting), { rootMargin: '120px' });
		observer.observe(element);
		watched.current = { element, observer };
	});
	useEffect(() => {
		const all = () => setSeen(true);
		addEventListener('beforeprint', all);
		return () => {
			removeEventListener('beforeprint', all);
			watched.current?.observer.disconnect();
		};
	}, []);
	return seen;
}

/* A value once it has stood still, and while that can be seen: for what takes longer than a frame. */
export function useSettled<T>(value: T, inSight: boolean): T {
	const [settled, setSettled] = useState(value);
	useEffect(() => {
		if (!inSight || settled === value) return;
		const timer = setTimeout(() => setSettled(value), 180);
		return () => clearTimeout(timer);
	}, [value, inSight]);
	return settled;
}

/* The moment under the pointer, for what can be seen. */
export function useHover(where: RefObject<HTMLElement | null> | string): number | null {
	return useInSight(where) ? hover.value : null;
}

export function largest(values: ArrayLike<number | null>): number {
	let max = 0;
	for (let i = 0; i < values.length; i++) max = Math.max(max, values[i] ?? 0);
	return max;
}

/* The index of the last value that is not above `wanted`; 0 when all are. */
export function indexAt(values: ArrayLike<number>, wanted: number): number {
	let low = 0;
	let high = values.length - 1;
	while (low < high) {
		const middle = (low + high + 1) >> 1;
		if (values[middle]! <= wanted) low = middle;
		else high = middle - 1;
	}
	return low;
}

/* A canvas sized for the screen's real pixels, cleared, with CSS pixels as its unit. */
export function prepareCanvas(
	canvas: HTMLCanvasElement,
	width: number,
	height: number,
): CanvasRenderingContext2D | null {
	const ratio = Math.min(3, window.devicePixelRatio || 1);
	canvas.width = Math.round(width * ratio);
	canvas.height = Math.round(height * ratio);
	canvas.style.width = `${width}px`;
	canvas.style.height = `${height}px`;
	const context = canvas.getContext('2d');
	context?.setTransform(ratio, 0, 0, ratio, 0, 0);
	return context;
}

export const FONT =
	'11px system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif';
