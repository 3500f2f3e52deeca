// SPDX-License-Identifier: MIT
/* Where axes have their ticks: round times, and bytes that are round in binary units. */

const S = 1e9;

const TIME_STEPS: number[] = [];
for (let size = 1e3; size < S; size *= 10) TIME_STEPS.push(size, 2 * size, 5 * size);
TIME_STEPS.push(S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S);
for (const minutes of [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 28 * 1440])
	TIME_STEPS.push(minutes * 60 * S);

const BYTE_STEPS: number[] = [];
for (let unit = 1; unit < 2 ** 60; unit *= 1024)
	for (let n = 1; n < 1024; n *= 2) BYTE_STEPS.push(n * unit);

export const timeSteps: readonly number[] = TIME_STEPS;
export const byteSteps: readonly number[] = BYTE_STEPS;

export function ticks(low: number, high: number, most: number, steps: readonly number[]): number[] {
	const least = (high - low) / Math.max(1, most);
	const step = steps.find((s) => s >= least) ?? steps[steps.length - 1]!;
	const out: number[] = [];
	for (let at = Math.ceil(low / step) * step; at <= high; at += step) out.push(at);
	return out;
}
