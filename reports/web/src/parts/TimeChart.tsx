// SPDX-License-Identifier: MIT
/*
 * A chart over time: uPlot, bound to the page's one range, one hover moment and one cursor
 *
 * Dragging sets the range of every chart, double-click the whole run, a click puts the cursor, the
 * arrow keys move it. Values are drawn as they are: nothing is smoothed.
 */
import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { alpha, accent, grid, muted } from '../colour';
import { bytes, clock, timeOfDay } from '../format';
import { hover, range, setRange, span, theme, time, view, zoomAt } from '../store';
import { announce } from './announce';
import { FONT, indexAt, useInSight, useWidth } from './hooks';
import { byteSteps, timeSteps } from './ticks';

export interface Line {
	label: string;
	values: ArrayLike<number | null>;
	colour: string;
	width?: number;
	fill?: string;
	dash?: number[];
	stepped?: boolean;
	/* the legend's number, where the drawn one is a sum (stacks) */
	own?: ArrayLike<number | null>;
	/* an edge of a band: drawn, but not in the legend */
	quiet?: boolean;
}

export interface Band {
	upper: number; // indices of lines
	lower: number;
	fill: string;
}

export interface Marker {
	at: number;
	value: number;
	label: string;
}

/* On the axis of time: something begins or ends. */
export interface Tick {
	at: number;
	begins: boolean;
}

export interface TimeChartProps {
	xs: ArrayLike<number>;
	lines: Line[];
	bands?: Band[];
	markers?: Marker[];
	ticks?: Tick[];
	height: number;
	log?: boolean;
	label: string;
	describedBy?: string;
	format?: (value: number) => string;
	steps?: readonly number[];
	top?: number;
	epoch?: number | null; // of the wall clock: ticks are times of day
}

export function TimeChart(props: TimeChartProps) {
	const box = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot | null>(null);
	const width = useWidth(box);
	const inSight = useInSight(box);
	const drawing = useRef(inSight);
	drawing.current = inSight;
	const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
	const { xs, lines, height, log } = props;
	const format = props.format ?? ((value: number) => bytes(value));
	const themeNow = theme.value;

	useEffect(() => {
		const element = box.current;
		if (!element || width < 40) return;
		const options = chartOptions(props, width, hidden, format);
		const data = [xs, ...lines.map((line) => line.values)] as unknown as uPlot.AlignedData;
		const u = new uPlot(options, data, element);
		plot.current = u;
		const [a, b] = view.peek();
		u.setScale('x', { min: a, max: b });

		const onWheel = (event: WheelEvent) => {
			if (!event.ctrlKey && !event.metaKey) return;
			event.preventDefault();
			const left = event.clientX - u.over.getBoundingClientRect().left;
			zoomAt(u.posToVal(left, 'x'), event.deltaY < 0 ? 0.8 : 1.25);
		};
		u.over.addEventListener('wheel', onWheel, { passive: false });
		return () => {
			plot.current = null;
			u.destroy();
		};
	}, [xs, lines, width, height, log, themeNow, hidden, props.epoch]);

	/* Out of sight nothing moves; what was missed is caught up with on coming back. */
	const follow = () => {
		const [a, b] = view.value;
		const u = plot.current;
		if (u && drawing.current && (u.scales.x!.min !== a || u.scales.x!.max !== b)) u.setScale('x', { min: a, max: b });
	};
	useSignalEffect(follow);
	useEffect(() => {
		if (!inSight) return;
		follow();
		plot.current?.redraw(false);
	}, [inSight]);
	useSignalEffect(() => {
		const at = hover.value;
		const u = plot.current;
		if (!u || !drawing.current || u.cursor.event) return;
		u.setCursor(at === null ? { left: -10, top: -10 } : { left: u.valToPos(at, 'x'), top: -10 }, false);
	});
	useSignalEffect(() => {
		void time.value;
		if (drawing.current) plot.current?.redraw(false);
	});

	const onKeyDown = (event: KeyboardEvent) => {
		if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
		event.preventDefault();
		event.stopPropagation();
		const step = (event.key === 'ArrowRight' ? 1 : -1) * (event.shiftKey ? 10 : 1);
		const now = indexAt(xs, time.value ?? span.value);
		const next = Math.max(0, Math.min(xs.length - 1, now + step));
		time.value = xs[next]!;
		announce(
			[clock(xs[next]!, span.value)]
				.concat(
					lines
						.filter((line) => !line.quiet)
						.map((line) => `${line.label} ${format(Number((line.own ?? line.values)[next] ?? 0))}`),
				)
				.join(', '),
		);
	};

	return (
		<div class="chart">
			<Legend lines={lines} xs={xs} format={format} hidden={hidden} onToggle={setHidden} inSight={inSight} />
			<div
				ref={box}
				class="chart-box"
				role="img"
				tabIndex={0}
				aria-label={props.label}
				aria-describedby={props.describedBy}
				onKeyDown={onKeyDown}
			/>
		</div>
	);
}

function Legend(props: {
	lines: Line[];
	xs: ArrayLike<number>;
	format: (value: number) => string;
	hidden: ReadonlySet<number>;
	onToggle: (hidden: ReadonlySet<number>) => void;
	inSight: boolean;
}) {
	const at = (props.inSight ? hover.value : null) ?? time.value ?? view.value[1];
	const index = indexAt(props.xs, at);
	const toggle = (i: number) => {
		const next = new Set(props.hidden);
		if (!next.delete(i)) next.add(i);
		props.onToggle(next);
	};
	return (
		<div class="legend">
			<span class="legend-time">{clock(Math.min(at, span.value), span.value)}</span>
			{props.lines.map((line, i) =>
				line.quiet ? null : (
					<button
						type="button"
						class="legend-item"
						aria-pressed={!props.hidden.has(i)}
						onClick={() => toggle(i)}
					>
						<svg width="18" height="10" aria-hidden="true">
							<line
								x1="1"
								x2="17"
								y1="5"
								y2="5"
								stroke={line.colour}
								stroke-width={line.fill && !line.width ? 8 : 3}
								stroke-dasharray={line.dash?.map((d) => d / 1.6).join(' ')}
							/>
						</svg>
						<span class="legend-label">{line.label}</span>
						<span class="legend-value">{legendValue(line, index, props.format)}</span>
					</button>
				),
			)}
		</div>
	);
}

function legendValue(line: Line, index: number, format: (value: number) => string): string {
	const value = (line.own ?? line.values)[index];
	return value === null || value === undefined ? '–' : format(value);
}

function chartOptions(
	props: TimeChartProps,
	width: number,
	hidden: ReadonlySet<number>,
	format: (value: number) => string,
): uPlot.Options {
	const now = theme.peek();
	const axis = {
		stroke: muted[now],
		font: FONT,
		grid: { stroke: grid[now], width: 1 },
		ticks: { stroke: grid[now], width: 1, size: 4 },
	};
	return {
		width,
		height: props.height,
		legend: { show: false },
		padding: [12, 26, 0, 0],
		focus: { alpha: 0.3 },
		scales: {
			x: { time: false, range: (_u, min, max) => [min, max] },
			y: props.log
				? { distr: 3, range: (_u, min, max) => [Math.max(1, min || 1), Math.max(2, max)] }
				: { range: (_u, _min, max) => [0, props.top ?? (max > 0 ? max * 1.08 : 1)] },
		},
		axes: [
			{
				...axis,
				size: 32,
				space: 84,
				incrs: [...timeSteps],
				values: (u, splits) =>
					splits.map((v) => {
						const long = Math.max(1, (u.scales.x!.max ?? 1) - (u.scales.x!.min ?? 0));
						return props.epoch ? timeOfDay(props.epoch + v, long) : clock(v, long);
					}),
			},
			{
				...axis,
				size: 68,
				space: 34,
				incrs: props.log ? undefined : [...(props.steps ?? byteSteps)],
				values: (_u, splits) => splits.map((v) => (v === null ? '' : format(v).replace(/\.0+ /, ' '))),
			},
		],
		series: [
			{},
			...props.lines.map((line, i): uPlot.Series => ({
				label: line.label,
				show: !hidden.has(i),
				stroke: line.colour,
				width: line.width ?? 1.75,
				fill: line.fill,
				dash: line.dash,
				points: { show: false },
				spanGaps: true,
				paths: line.stepped ? uPlot.paths.stepped!({ align: 1 }) : undefined,
			})),
		],
		bands: props.bands?.map((band) => ({
			series: [band.upper + 1, band.lower + 1],
			fill: band.fill,
		})),
		cursor: {
			y: false,
			points: { size: 7 },
			drag: { x: true, y: false, setScale: false },
			bind: {
				dblclick: () => () => {
					range.value = null;
					return null;
				},
			},
		},
		hooks: {
			setSelect: [
				(u) => {
					if (u.select.width > 3)
						setRange(
							u.posToVal(u.select.left, 'x'),
							u.posToVal(u.select.left + u.select.width, 'x'),
						);
					u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
				},
			],
			setCursor: [
				(u) => {
					if (!u.cursor.event) return;
					const left = u.cursor.left ?? -1;
					hover.value = left < 0 ? null : u.posToVal(left, 'x');
				},
			],
			ready: [
				(u) => {
					let downAt = -1;
					u.over.addEventListener('mousedown', (e) => (downAt = e.clientX));
					u.over.addEventListener('click', (e) => {
						if (Math.abs(e.clientX - downAt) < 3)
							time.value = Math.round(
								u.posToVal(e.clientX - u.over.getBoundingClientRect().left, 'x'),
							);
					});
					u.over.addEventListener('mouseleave', () => (hover.value = null));
				},
			],
			draw: [(u) => drawMarks(u, props)],
		},
	};
}

/* The cursor, and the exact points that must not be missed. */
function drawMarks(u: uPlot, props: TimeChartProps): void {
	const now = theme.peek();
	const { ctx } = u;
	const ratio = uPlot.pxRatio;
	const { left, top, width, height } = u.bbox;

	ctx.save();
	ctx.beginPath();
	ctx.rect(left, top - 10 * ratio, width, height + 10 * ratio);
	ctx.clip();
	if (time.peek() !== null) {
		const x = u.valToPos(time.peek()!, 'x', true);
		ctx.strokeStyle = accent[now];
		ctx.lineWidth = ratio;
		ctx.setLineDash([4 * ratio, 3 * ratio]);
		ctx.beginPath();
		ctx.moveTo(x, top);
		ctx.lineTo(x, top + height);
		ctx.stroke();
		ctx.setLineDash([]);
	}
	ctx.strokeStyle = ctx.fillStyle = muted[now];
	ctx.lineWidth = ratio;
	for (const tick of props.ticks ?? []) {
		const x = u.valToPos(tick.at, 'x', true);
		if (x < left - 1 || x > left + width + 1) continue;
		const base = top + height;
		const [w, h] = [3.5 * ratio, 8 * ratio];
		ctx.beginPath();
		ctx.moveTo(x - w, tick.begins ? base : base - h);
		ctx.lineTo(x + w, tick.begins ? base : base - h);
		ctx.lineTo(x, tick.begins ? base - h : base);
		ctx.closePath();
		if (tick.begins) ctx.fill();
		else ctx.stroke();
	}
	ctx.font = FONT.replace('11px', `${11 * ratio}px`);
	const labels: { from: number; to: number; y: number }[] = [];
	for (const mark of props.markers ?? []) {
		const x = u.valToPos(mark.at, 'x', true);
		const y = u.valToPos(mark.value, 'y', true);
		if (x < left - 1 || x > left + width + 1) continue;
		const r = 4.5 * ratio;
		ctx.fillStyle = accent[now];
		ctx.beginPath();
		ctx.moveTo(x, y - r);
		ctx.lineTo(x + r, y);
		ctx.lineTo(x, y + r);
		ctx.lineTo(x - r, y);
		ctx.fill();
		const room = left + width - x;
		const wide = ctx.measureText(mark.label).width;
		ctx.textAlign = room > wide + 14 * ratio ? 'left' : 'right';
		const side = ctx.textAlign === 'left' ? 1 : -1;
		ctx.lineWidth = 3 * ratio;
		ctx.strokeStyle = alpha(now === 'dark' ? '#151b23' : '#ffffff', 0.85);
		ctx.textBaseline = 'middle';
		let labelY = Math.max(top - 2 * ratio, y - 11 * ratio);
		/* above the ones that it would lie on */
		const [from, to] = side > 0 ? [x, x + wide + 9 * ratio] : [x - wide - 9 * ratio, x];
		while (labels.some((one) => one.from < to && from < one.to && Math.abs(one.y - labelY) < 12 * ratio) && labelY > top + 12 * ratio)
			labelY -= 12 * ratio;
		labels.push({ from, to, y: labelY });
		ctx.strokeText(mark.label, x + side * 9 * ratio, labelY);
		ctx.fillText(mark.label, x + side * 9 * ratio, labelY);
	}
	ctx.restore();
}
