// SPDX-License-Identifier: MIT
/* Numbers for people: IEC units, durations, counts. Exact bytes belong in tooltips and CSV. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

export function bytes(value: number | null | undefined, digits = 3): string {
	if (value === null || value === undefined || !Number.isFinite(value)) return '–';
	let rest = Math.abs(value);
	let unit = 0;
	while (rest >= 1023.5 && unit < UNITS.length - 1) {
		rest /= 1024;
		unit++;
	}
	const decimals = unit === 0 || rest >= 100 ? 0 : rest >= 10 ? Math.min(1, digits) : Math.min(2, digits);
	return `${value < 0 ? '−' : ''}${rest.toFixed(decimals)} ${UNITS[unit]}`;
}

export function exactBytes(value: number | null | undefined): string | undefined {
	if (value === null || value === undefined) return undefined;
	return `${value.toLocaleString('en-US')} B`;
}

export function count(value: number | null | undefined): string {
	if (value === null || value === undefined || !Number.isFinite(value)) return '–';
	if (Math.abs(value) < 100_000) return Math.round(value).toLocaleString('en-US');
	const units: [number, string][] = [
		[1e12, 'T'],
		[1e9, 'G'],
		[1e6, 'M'],
		[1e3, 'k'],
	];
	for (const [size, name] of units)
		if (Math.abs(value) >= size) {
			const rest = value / size;
			return `${rest.toFixed(rest >= 100 ? 0 : 1)} ${name}`;
		}
	return String(value);
}

export function percent(share: number | null | undefined, digits = 1): string {
	if (share === null || share === undefined || !Number.isFinite(share)) return '–';
	const value = share * 100;
	return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(digits)} %`;
}

export function duration(ns: number | null | undefined): string {
	if (ns === null || ns === undefined || !Number.isFinite(ns)) return '–';
	const s = ns / 1e9;
	if (s < 1e-6) return `${ns.toFixed(0)} ns`;
	if (s < 1e-3) return `${(s * 1e6).toFixed(0)} µs`;
	if (s < 1) return `${(s * 1e3).toFixed(s < 0.01 ? 2 : 0)} ms`;
	if (s < 60) return `${s.toFixed(2)} s`;
	const whole = Math.round(s);
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
	const minutes = Math.round(s / 60);
	if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
	return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/* A moment of the recording, as precise as its length asks for. */
export function clock(ns: number, span: number): string {
	const s = ns / 1e9;
	const spanS = span / 1e9;
	if (spanS < 1) return `${(s * 1e3).toFixed(spanS < 0.02 ? 2 : 1)} ms`;
	if (spanS < 100) return `${s.toFixed(spanS < 10 ? 2 : 1)} s`;
	const whole = Math.floor(s + 1e-6);
	const two = (n: number) => String(n).padStart(2, '0');
	const hours = Math.floor(whole / 3600);
	const tail = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
	return hours > 0 || spanS >= 3600 ? `${two(hours)}:${tail}` : tail;
}

export function rate(bytesPerSecond: number | null | undefined): string {
	if (bytesPerSecond === null || bytesPerSecond === undefined || !Number.isFinite(bytesPerSecond))
		return '–';
	if (bytesPerSecond === 0) return '0';
	/* the unit of time in which the number is at least a kibibyte, as in the analyzer's sentences */
	const units: [number, string][] = [
		[1, 's'],
		[60, 'min'],
		[3600, 'h'],
		[86400, 'd'],
	];
	const [seconds, name] =
		units.find(([length]) => Math.abs(bytesPerSecond) * length >= 1024) ?? units[3]!;
	return `${bytesPerSecond > 0 ? '+' : ''}${bytes(bytesPerSecond * seconds)}/${name}`;
}

export function address(value: number): string {
	return `0x${value.toString(16).padStart(12, '0')}`;
}

export function wallClock(ns: number | null | undefined, lang: string): string {
	if (!ns) return '';
	return new Intl.DateTimeFormat(lang === 'zh' ? 'zh-CN' : 'en-GB', {
		dateStyle: 'medium',
		timeStyle: 'medium',
	}).format(new Date(ns / 1e6));
}

/* A moment as the clock of this reader's zone shows it, with seconds where the chart is short. */
export function timeOfDay(ns: number, span: number): string {
	return new Intl.DateTimeFormat('en-GB', {
		hour: '2-digit',
		minute: '2-digit',
		...(span < 600e9 ? { second: '2-digit' } : {}),
		...(span > 2 * 86400e9 ? { day: '2-digit', month: 'short' } : {}),
	}).format(new Date(ns / 1e6));
}

/* A ratio: "170 ×". */
export function times(value: number | null | undefined): string {
	if (value === null || value === undefined || !Number.isFinite(value)) return '–';
	return `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ×`;
}

/*
 * Names come from the recorded program and may try to hide or reorder text: control and
 * bidirectional formatting characters are shown as what they are.
 */
export function visible(text: string | null | undefined): string {
	if (!text) return '';
	return text.replace(
		/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
		(c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
	);
}

/* A difference of bytes: "+1.5 MiB", "−3 KiB". */
export function signed(value: number): string {
	return `${value > 0 ? '+' : ''}${bytes(value)}`;
}
