// SPDX-License-Identifier: MIT
/*
 * Squares of memory on a canvas
 *
 * Painted as an image of one pixel a square and drawn larger without smoothing; the seams between squares are
 * cut out afterwards. Dragging chooses a run of addresses, from square to square as text is chosen.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { accent, changeRgb, cividis, hole, lines as palette, muted, other, parseHex, text, type Rgb } from '../colour';
import { address } from '../format';
import { binOf, cellUnder, runsIn, spotOf, type Layout, type Squares as Cells } from '../sections/cells';
import { addresses, pageShare, theme } from '../store';
import { announce } from './announce';
import { FONT, prepareCanvas } from './hooks';
import { hideTip, showTip } from './Tip';

const FADED = 46; // of 255

export interface SquaresProps {
	id: string;
	squares: Cells;
	against?: Cells | undefined; // an earlier moment on the same squares: colour by the change
	layout: Layout;
	width: number;
	colour: string;
	rank: number | null; // of the chosen site
	worker: number | null; // the chosen thread
	label: string;
	describedBy?: string;
	describe: (at: number) => string[];
}

/* 2^44 ns are five hours: older blocks all have the same colour. */
const ageShare = (log: number) => Math.max(0, Math.min(1, (log - 20) / 24));

function colourOf(by: string, now: 'light' | 'dark', squares: Cells, against: Cells | undefined): (at: number) => Rgb {
	const ranks: Rgb[] = palette[now].slice(0, 8).map(parseHex);
	const rest = parseHex(other[now]);
	const ranked = (rank: number) => ranks[rank - 1] ?? rest;
	if (against) return (at) => changeRgb((squares.live[at]! - against.live[at]!) / 255, now);
	if (by === 'site') return (at) => ranked(squares.site[at]!);
	if (by === 'thread') return (at) => ranked(squares.thread[at]!);
	if (by === 'age') return (at) => cividis[Math.round(255 * ageShare(squares.age[at]!))]!;
	return (at) => cividis[squares.live[at]!]!;
}

export function Squares(props: SquaresProps) {
	const { squares, against, layout, width, colour, rank, worker } = props;
	const canvas = useRef<HTMLCanvasElement>(null);
	const [cursor, setCursor] = useState<number | null>(null);
	const [run, setRun] = useState<readonly [number, number] | null>(null); // squares, while they are being chosen
	const now = theme.value;
	const bin = pageShare.value;
	const range = addresses.value;

	const pictures = useMemo(() => {
		const empty = parseHex(hole[now]);
		const paint = colourOf(colour, now, squares, against);
		return layout.places.map(({ region, rows }) => {
			const data = new ImageData(layout.across, Math.max(1, rows));
			for (let i = 0; i < region.n_cells; i++) {
				const at = region.first_cell + i;
				const live = squares.live[at]!;
				const nothing = live === 0 && !(against && against.live[at]! > 0);
				const faded =
					(rank !== null && squares.site[at] !== rank) ||
					(worker !== null && squares.thread[at] !== worker) ||
					(bin !== null && binOf(live) !== bin);
				const [r, g, b] = nothing ? empty : paint(at);
				data.data[4 * i] = r;
				data.data[4 * i + 1] = g;
				data.data[4 * i + 2] = b;
				data.data[4 * i + 3] = faded && !nothing ? FADED : 255;
			}
			const picture = document.createElement('canvas');
			picture.width = data.width;
			picture.height = data.height;
			picture.getContext('2d')!.putImageData(data, 0, 0);
			return picture;
		});
	}, [squares, against, layout, now, colour, rank, worker, bin]);

	useEffect(() => {
		const c = canvas.current && prepareCanvas(canvas.current, width, layout.height);
		if (!c) return;
		const { size, across } = layout;
		c.font = FONT;
		c.textBaseline = 'bottom';
		c.imageSmoothingEnabled = false;
		layout.places.forEach(({ region, top, rows }, k) => {
			c.drawImage(pictures[k]!, 0, top, across * size, rows * size);
			if (size > 5) {
				for (let x = 1; x <= across; x++) c.clearRect(x * size - 1, top, 1, rows * size);
				for (let y = 1; y <= rows; y++) c.clearRect(0, top + y * size - 1, across * size, 1);
			}
			c.fillStyle = muted[now];
			c.fillText(address(region.start), 0, top - 1);
		});
		/* rows of a run are a box each */
		const frame = (first: number, end: number, style: string) => {
			c.strokeStyle = style;
			c.lineWidth = 2;
			for (let at = first; at < end; ) {
				const spot = spotOf(layout, at);
				if (!spot) return;
				const n = Math.min(end - at, across - spot.x / size);
				c.strokeRect(spot.x - 1, spot.y - 1, n * size + 1, size + 1);
				at += n;
			}
		};
		const chosen = run ? [[run[0], run[1] + 1] as const] : range ? runsIn(squares, range) : [];
		for (const [first, end] of chosen) frame(first, end, accent[now]);
		if (cursor !== null) frame(cursor, cursor + 1, text[now]);
	}, [pictures, layout, width, now, range, run, cursor]);

	const under = (event: MouseEvent, clamp = false): number | null => {
		const rect = canvas.current!.getBoundingClientRect();
		return cellUnder(layout, event.clientX - rect.left, event.clientY - rect.top, clamp);
	};
	const from = useRef<number | null>(null);
	const pick = (a: number, b: number) => {
		const [low, high] = [Math.min(a, b), Math.max(a, b)];
		const start = (at: number) => squares.regions.find((r) => at >= r.first_cell && at < r.first_cell + r.n_cells)!;
		const place = (at: number) => start(at).start + (at - start(at).first_cell) * squares.cell_bytes;
		addresses.value = [place(low), place(high) + squares.cell_bytes];
	};
	const reach = (to: number) => from.current !== null && setRun([Math.min(from.current, to), Math.max(from.current, to)]);
	const onKeyDown = (event: KeyboardEvent) => {
		const moves: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layout.across, ArrowDown: layout.across };
		const move = moves[event.key];
		if (move !== undefined) {
			const next = Math.max(0, Math.min(squares.n_cells - 1, (cursor ?? 0) + move));
			if (event.shiftKey) {
				from.current ??= cursor ?? 0;
				reach(next);
			} else {
				from.current = null;
				setRun(null);
			}
			setCursor(next);
			announce(props.describe(next).join(', '));
		} else if (event.key === 'Enter' && cursor !== null) {
			pick(from.current ?? cursor, cursor);
			from.current = null;
			setRun(null);
		} else return;
		event.preventDefault();
		event.stopPropagation();
	};

	return (
		<canvas
			ref={canvas}
			class="orders"
			id={props.id}
			role="img"
			tabIndex={0}
			aria-label={props.label}
			aria-describedby={props.describedBy}
			onMouseDown={(event) => (from.current = under(event))}
			onMouseMove={(event) => {
				const at = under(event);
				if (from.current !== null && event.buttons === 1) {
					const to = under(event, true);
					if (to !== null && to !== from.current) reach(to);
				}
				if (at === null) hideTip();
				else showTip(event, props.describe(at));
			}}
			onMouseUp={(event) => {
				const to = under(event, true);
				if (from.current !== null && to !== null) pick(from.current, to);
				from.current = null;
				setRun(null);
			}}
			onMouseLeave={() => {
				from.current = null;
				setRun(null);
				hideTip();
			}}
			onKeyDown={onKeyDown}
			onBlur={() => {
				setCursor(null);
				from.current = null;
				setRun(null);
			}}
		/>
	);
}
