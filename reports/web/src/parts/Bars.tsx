// SPDX-License-Identifier: MIT
/* Small bar charts, with a line of another measure over them: SVG, as they are a dozen boxes. */
import { useRef } from 'preact/hooks';
import { background, lines } from '../colour';
import { theme } from '../store';
import { useWidth } from './hooks';
import { hideTip, showTip } from './Tip';

export interface Bar {
	label: string;
	value: number;
	/* upon it, paler: a part of another kind */
	more?: number;
	tip: string[];
	colour: string;
}

export interface BarsProps {
	bars: Bar[];
	label: string;
	format: (v: number) => string;
	line?: number[] | undefined; // a share of the height for each bar
	height?: number;
	picked?: (index: number) => boolean;
	onPick?: (index: number) => void;
}

export function Bars({ bars, label, format, line, picked, onPick, height = 190 }: BarsProps) {
	const box = useRef<HTMLDivElement>(null);
	const width = useWidth(box);
	const now = theme.value;
	const base = height - 24;
	const left = 8;
	const max = Math.max(1, ...bars.map((bar) => bar.value + (bar.more ?? 0)));
	const step = Math.max(1, width - left * 2) / Math.max(1, bars.length);
	const every = Math.max(1, Math.ceil(46 / step));
	const points = line?.map((share, i) => `${left + (i + 0.5) * step},${base - share * (base - 18)}`).join(' ');
	const pick = onPick
		? (i: number) => ({
				role: 'button',
				tabIndex: 0,
				'aria-pressed': picked?.(i) ?? false,
				'aria-label': bars[i]!.tip.join(', '),
				onClick: () => onPick(i),
				onKeyDown: (event: KeyboardEvent) => {
					if (event.key !== 'Enter' && event.key !== ' ') return;
					event.preventDefault();
					event.stopPropagation();
					onPick(i);
				},
			})
		: () => ({});
	return (
		<div ref={box} class="bars">
			{width > 0 && (
				<svg width={width} height={height} role={onPick ? 'group' : 'img'} aria-label={label}>
					<line class="bar-base" x1={left} x2={width - left} y1={base + 0.5} y2={base + 0.5} />
					<text class="bar-max" x={left} y="11">
						{format(max)}
					</text>
					{bars.map((bar, i) => {
						const tall = (value: number) => (value > 0 ? Math.max(1.5, (value / max) * (base - 18)) : 0);
						const h = tall(bar.value);
						const m = tall(bar.more ?? 0);
						return (
							<g
								class={picked?.(i) ? 'bar-picked' : undefined}
								onMouseMove={(event: MouseEvent) => showTip(event, bar.tip)}
								onMouseLeave={hideTip}
								{...pick(i)}
							>
								<rect class="bar-hit" x={left + i * step} y="0" width={step} height={base} />
								<rect
									x={left + i * step + Math.min(3, step * 0.12)}
									y={base - h}
									width={Math.max(1, step - 2 * Math.min(3, step * 0.12))}
									height={h}
									rx="1.5"
									fill={bar.colour}
								/>
								{m > 0 && (
									<rect
										class="bar-more"
										x={left + i * step + Math.min(3, step * 0.12)}
										y={base - h - m}
										width={Math.max(1, step - 2 * Math.min(3, step * 0.12))}
										height={m}
										rx="1.5"
										stroke={bar.colour}
									/>
								)}
								{i % every === 0 && (
									<text x={left + (i + 0.5) * step} y={base + 16} text-anchor="middle">
										{bar.label}
									</text>
								)}
							</g>
						);
					})}
					{points && (
						<g class="bar-line">
							<polyline points={points} fill="none" stroke={background[now]} stroke-width="5" />
							<polyline points={points} fill="none" stroke={lines[now][5]!} stroke-width="2" />
						</g>
					)}
				</svg>
			)}
		</div>
	);
}
