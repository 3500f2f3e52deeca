// SPDX-License-Identifier: MIT
/*
 * A heat map on a canvas: rows against time, or against bins
 *
 * Row 0 is at the bottom. Cells have whole pixels, as a seam would read as a value. Over time the map
 * shares range, pointer and cursor with every other chart.
 */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import { accent, cividisCss, grid, hole, inkOn, muted, text } from '../colour';
import { clock } from '../format';
import { hover, setRange, span, theme, time, view } from '../store';
import { announce } from './announce';
import { FONT, indexAt, prepareCanvas, useInSight, useWidth } from './hooks';
import { ticks, timeSteps } from './ticks';
import { hideTip, showTip } from './Tip';

const LEFT = 62;
const RIGHT = 10;
const BOTTOM = 24;

export type Across = { times: Values } | { n: number; label: (column: number) => string };

export interface HeatMapProps {
	across: Across;
	rows: number;
	rowLabel: (row: number) => string;
	share: (column: number, row: number) => number; // 0..1, below 0: nothing is there
	tip: (column: number, row: number) => string[];
	height: number;
	label: string;
	describedBy?: string;
	id?: string;
	onPick?: (column: number, row: number) => void;
	picked?: readonly [number, number] | null;
}

type Cell = readonly [number, number];

export function HeatMap(props: HeatMapProps) {
	const { across, rows, height } = props;
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const drag = useRef<number | null>(null);
	const [focus, setFocus] = useState<Cell | null>(null);
	const cells = useRef<{ of: unknown[]; picture: HTMLCanvasElement } | null>(null);
	const width = useWidth(box);
	const inSight = useInSight(box);
	const now = theme.value;
	const [a, b] = view.value;
	const times = 'times' in across ? across.times : null;
	const n = 'times' in across ? across.times.length : across.n;
	const plot = Math.max(1, width - LEFT - RIGHT);
	const rowHeight = (height - BOTTOM) / rows;
	const mark = times ? time.value : null;
	const pointer = times && inSight ? hover.value : null;

	const left = (column: number) =>
		times
			? LEFT + (((column === 0 ? 0 : times[column - 1]!) - a) / Math.max(1, b - a)) * plot
			: LEFT + (column / n) * plot;
	const right = (column: number) =>
		times ? LEFT + ((times[column]! - a) / Math.max(1, b - a)) * plot : LEFT + ((column + 1) / n) * plot;

	/* The cells, painted when they change and not when the pointer moves. */
	const paint = () => {
		const of = [across, props.share, width, height, a, b, now, devicePixelRatio];
		const known = cells.current;
		if (known && known.of.every((value, i) => value === of[i])) return known.picture;
		const picture = known?.picture ?? document.createElement('canvas');
		const c = prepareCanvas(picture, width, height)!;
		cells.current = { of, picture };
		c.beginPath();
		c.rect(LEFT, 0, plot, height - BOTTOM);
		c.clip();
		c.fillStyle = hole[now];
		c.fillRect(LEFT, 0, plot, height - BOTTOM);
		for (let i = 0; i < n; i++) {
			const from = Math.floor(left(i));
			const to = Math.ceil(right(i));
			if (to < LEFT || from > width) continue;
			for (let row = 0; row < rows; row++) {
				const share = props.share(i, row);
				if (share < 0) continue;
				c.fillStyle = cividisCss(share);
				const top = Math.floor((rows - 1 - row) * rowHeight);
				c.fillRect(from, top, to - from, Math.ceil((rows - row) * rowHeight) - top);
			}
		}
		return picture;
	};

	useEffect(() => {
		if (!inSight && cells.current) return;
		const c = canvas.current && width > LEFT + 20 && prepareCanvas(canvas.current, width, height);
		if (!c) return;
		c.drawImage(paint(), 0, 0, width, height);
		c.save();
		c.beginPath();
		c.rect(LEFT, 0, plot, height - BOTTOM);
		c.clip();
		const outline = (cell: Cell | null | undefined, colour: string) => {
			if (!cell) return;
			c.strokeStyle = colour;
			c.lineWidth = 2;
			c.strokeRect(left(cell[0]), (rows - 1 - cell[1]) * rowHeight, right(cell[0]) - left(cell[0]), rowHeight);
		};
		outline(props.picked, accent[now]);
		outline(focus, text[now]);
		c.restore();

		c.font = FONT;
		c.fillStyle = muted[now];
		c.textAlign = 'right';
		c.textBaseline = 'middle';
		const every = Math.max(1, Math.ceil(15 / rowHeight));
		for (let row = 0; row < rows; row += every)
			c.fillText(props.rowLabel(row), LEFT - 6, (rows - 0.5 - row) * rowHeight);
		c.textAlign = 'center';
		c.textBaseline = 'top';
		const base = height - BOTTOM;
		if (times)
			for (const at of ticks(a, b, plot / 84, timeSteps)) {
				const x = LEFT + ((at - a) / Math.max(1, b - a)) * plot;
				if (x > width - 20) continue;
				c.fillRect(Math.round(x), base, 1, 4);
				c.fillText(clock(at, Math.max(1, b - a)), x, base + 7);
			}
		else if ('label' in across) {
			const step = Math.max(1, Math.ceil(64 / (plot / n)));
			for (let i = 0; i < n; i += step) c.fillText(across.label(i), (left(i) + right(i)) / 2, base + 7);
		}
		for (const [at, colour] of [
			[mark, accent[now]],
			[pointer, grid.light],
		] as const) {
			if (at === null || at < a || at > b) continue;
			c.fillStyle = colour;
			c.fillRect(Math.round(LEFT + ((at - a) / Math.max(1, b - a)) * plot), 0, 1, base);
		}
	}, [across, props.share, width, height, a, b, now, mark, pointer, props.picked, focus, inSight]);

	const place = (event: MouseEvent) => {
		const rect = canvas.current!.getBoundingClientRect();
		const x = event.clientX - rect.left;
		const row = rows - 1 - Math.floor((event.clientY - rect.top) / rowHeight);
		const ns = a + ((x - LEFT) / plot) * (b - a);
		let column = times ? indexAt(times, ns) : Math.floor(((x - LEFT) / plot) * n);
		if (times && times[column]! < ns) column = Math.min(n - 1, column + 1);
		const inside = x >= LEFT && x <= LEFT + plot && row >= 0 && row < rows && column >= 0 && column < n;
		return { x, ns, cell: inside ? ([column, row] as const) : null };
	};
	const onMove = (event: MouseEvent) => {
		const { ns, cell } = place(event);
		if (times) hover.value = cell ? ns : null;
		if (cell) showTip(event, props.tip(...cell));
		else hideTip();
	};
	const onUp = (event: MouseEvent) => {
		const { x, ns, cell } = place(event);
		const from = drag.current;
		drag.current = null;
		if (times && from !== null && Math.abs(x - from) > 4) {
			setRange(a + ((from - LEFT) / plot) * (b - a), ns);
			return;
		}
		if (!cell) return;
		if (times) time.value = Math.round(Math.max(0, Math.min(span.value, ns)));
		props.onPick?.(...cell);
	};
	const onKeyDown = (event: KeyboardEvent) => {
		const moves: Record<string, Cell> = {
			ArrowLeft: [-1, 0],
			ArrowRight: [1, 0],
			ArrowUp: [0, 1],
			ArrowDown: [0, -1],
		};
		const move = moves[event.key];
		const at: Cell = focus ?? [times ? indexAt(times, time.value ?? span.value) : 0, 0];
		if (move) {
			const far = event.shiftKey ? 10 : 1;
			const next: Cell = [
				Math.max(0, Math.min(n - 1, at[0] + move[0] * far)),
				Math.max(0, Math.min(rows - 1, at[1] + move[1])),
			];
			setFocus(next);
			if (times) time.value = times[next[0]]!;
			announce(props.tip(...next).join(', '));
		} else if (event.key === 'Enter' && focus) props.onPick?.(...focus);
		else return;
		event.preventDefault();
		event.stopPropagation();
	};

	return (
		<div ref={box}>
			<canvas
				ref={canvas}
				id={props.id}
				class="orders"
				role="img"
				tabIndex={0}
				aria-label={props.label}
				aria-describedby={props.describedBy}
				onMouseMove={onMove}
				onMouseLeave={() => {
					if (times) hover.value = null;
					drag.current = null;
					hideTip();
				}}
				onMouseDown={(event) => (drag.current = place(event).x)}
				onMouseUp={onUp}
				onKeyDown={onKeyDown}
				onBlur={() => setFocus(null)}
			/>
		</div>
	);
}

/* What a colour means, in five steps. */
export function Ramp({ steps, children }: { steps: string[]; children?: string }) {
	return (
		<p class="ramp muted">
			{steps.map((step, i) => {
				const share = i / Math.max(1, steps.length - 1);
				return (
					<span class="ramp-step" style={{ backgroundColor: cividisCss(share), color: inkOn(share) }}>
						{step}
					</span>
				);
			})}
			<span>{children}</span>
		</p>
	);
}

/* Logarithmic: counts that differ by factors. Nothing where there is nothing. */
export function logShare(value: number, max: number): number {
	return value <= 0 ? -1 : max <= 1 ? 1 : Math.log(value + 1) / Math.log(max + 1);
}
