// SPDX-License-Identifier: MIT
/* The strip under the header: the whole run, the chosen range in it, always in sight. */
import { useEffect, useRef } from 'preact/hooks';
import type { Doc } from '../doc';
import { accent, alpha, lines } from '../colour';
import { hover, range, setRange, span, theme, time, view } from '../store';
import { largest, prepareCanvas, useWidth } from './hooks';
import { useColumns } from './Section';

const HEIGHT = 30;

export function Overview({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['timeline.time_ns', 'timeline.peak_bytes']);
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const from = useRef<number | null>(null);
	const width = useWidth(box);
	const now = theme.value;
	const [a, b] = view.value;
	const mark = hover.value ?? time.value;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const shown = values !== null && values[0]!.length > 1;

	useEffect(() => {
		const c = canvas.current && shown && width > 0 && prepareCanvas(canvas.current, width, HEIGHT);
		if (!c) return;
		const [times, peak] = values!;
		const max = Math.max(1, largest(peak!));
		const x = (ns: number) => (ns / span.peek()) * width;
		c.beginPath();
		c.moveTo(0, HEIGHT);
		for (let i = 0; i < times!.length; i++) c.lineTo(x(times![i]!), HEIGHT - (peak![i]! / max) * (HEIGHT - 4));
		c.lineTo(width, HEIGHT);
		c.fillStyle = alpha(lines[now][0]!, 0.45);
		c.fill();
		if (range.peek()) {
			c.fillStyle = now === 'dark' ? 'rgba(13, 17, 23, 0.72)' : 'rgba(255, 255, 255, 0.76)';
			c.fillRect(0, 0, x(a), HEIGHT);
			c.fillRect(x(b), 0, width - x(b), HEIGHT);
			c.fillStyle = lines[now][0]!;
			c.fillRect(x(a) - 1, 0, 2, HEIGHT);
			c.fillRect(x(b) - 1, 0, 2, HEIGHT);
		}
		if (mark !== null) {
			c.fillStyle = accent[now];
			c.fillRect(Math.round(x(mark)), 0, 1, HEIGHT);
		}
	}, [values, width, now, a, b, mark]);

	const moment = (event: PointerEvent) =>
		((event.clientX - canvas.current!.getBoundingClientRect().left) / Math.max(1, width)) * span.value;
	return (
		<div class="overview" hidden={!shown}>
			<div ref={box}>
			<canvas
				ref={canvas}
				aria-hidden="true"
				onPointerDown={(event) => {
					from.current = moment(event);
					event.currentTarget.setPointerCapture(event.pointerId);
				}}
				onPointerMove={(event) => {
					if (from.current !== null && Math.abs(moment(event) - from.current) > span.value / 200)
						setRange(from.current, moment(event));
				}}
				onPointerUp={() => (from.current = null)}
				onDblClick={() => (range.value = null)}
			/>
			</div>
		</div>
	);
}
