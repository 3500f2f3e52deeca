// SPDX-License-Identifier: MIT
/* Small bar charts: SVG, because they are a dozen boxes and want tooltips. */
import { useRef } from 'preact/hooks';
import { useWidth } from './hooks';
import { hideTip, showTip } from './Tip';

export interface Bar {
	label: string;
	value: number;
	tip: string[];
	colour: string;
}

export function Bars({ bars, label, format }: { bars: Bar[]; label: string; format: (v: number) => string }) {
	const box = useRef<HTMLDivElement>(null);
	const width = useWidth(box);
	const height = 190;
	const base = height - 24;
	const left = 8;
	const max = Math.max(1, ...bars.map((bar) => bar.value));
	const step = Math.max(1, width - left * 2) / Math.max(1, bars.length);
	const every = Math.max(1, Math.ceil(46 / step));
	return (
		<div ref={box} class="bars">
			{width > 0 && (
				<svg width={width} height={height} role="img" aria-label={label}>
					<line class="bar-base" x1={left} x2={width - left} y1={base + 0.5} y2={base + 0.5} />
					<text class="bar-max" x={left} y="11">
						{format(max)}
					</text>
					{bars.map((bar, i) => {
						const h = bar.value > 0 ? Math.max(1.5, (bar.value / max) * (base - 18)) : 0;
						return (
							<g
								onMouseMove={(event: MouseEvent) => showTip(event, bar.tip)}
								onMouseLeave={hideTip}
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
								{i % every === 0 && (
									<text x={left + (i + 0.5) * step} y={base + 16} text-anchor="middle">
										{bar.label}
									</text>
								)}
							</g>
						);
					})}
				</svg>
			)}
		</div>
	);
}
