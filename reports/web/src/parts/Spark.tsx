// SPDX-License-Identifier: MIT
/* A line without axes, beside a number that says what it ends at. */
const WIDTH = 132;
const HEIGHT = 28;

export function Spark({ values, top = 0 }: { values: ArrayLike<number>; top?: number }) {
	let max = top;
	for (let i = 0; i < values.length; i++) max = Math.max(max, values[i]!);
	if (max === 0 || values.length === 0) return null;
	const points = Array.from(values, (value, i) => {
		const x = (i / Math.max(1, values.length - 1)) * WIDTH;
		return `${x.toFixed(1)},${(HEIGHT - 1 - (value / max) * (HEIGHT - 3)).toFixed(1)}`;
	});
	return (
		<svg class="spark" width={WIDTH} height={HEIGHT} aria-hidden="true">
			<polygon points={`0,${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`} />
			<polyline points={points.join(' ')} />
		</svg>
	);
}
