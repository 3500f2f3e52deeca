// SPDX-License-Identifier: MIT
/*
 * In the place of d3-scale, d3-format, d3-array and d3-ease: the one function that the flame graph uses of each
 *
 * A linear scale alone would bring colours, times and their formats along: a twelfth of the page.
 */

/* From 0..1; d3's scale does more than that, which the flame graph doesn't ask for. */
export function scaleLinear() {
	let to: readonly [number, number] = [0, 1];
	const scale = (value: number) => to[0] + (to[1] - to[0]) * value;
	return Object.assign(scale, {
		range(next: readonly [number, number]) {
			to = next;
			return scale;
		},
	});
}

/* Of labels that nobody sees: the page has its own. */
export const format = (specifier: string) => (value: number) => value.toFixed(parseInt(specifier.slice(1), 10));

export const ascending = (a: string | number, b: string | number) => (a < b ? -1 : a > b ? 1 : a >= b ? 0 : NaN);

export const easeCubic = (t: number) => t;
