// SPDX-License-Identifier: MIT
/*
 * Colours of data
 *
 * Lines reach a contrast of 3:1 against their background in both themes (a test computes it), no pair
 * relies on red against green, and whatever a colour says is also said by a label or a dash.
 */
import type { Theme } from './store';

export const background: Record<Theme, string> = { light: '#ffffff', dark: '#151b23' };

export const lines: Record<Theme, readonly string[]> = {
	light: ['#0072B2', '#D55E00', '#00795A', '#A8507F', '#9A6A00', '#5B4FA2', '#1B7F9E', '#8C4A2F'],
	dark: ['#56B4E9', '#FF8A3D', '#2CC295', '#E39AC4', '#F0E442', '#A79BE8', '#7FD4E6', '#E3A587'],
};

export const other: Record<Theme, string> = { light: '#6b7480', dark: '#8b95a1' };
export const text: Record<Theme, string> = { light: '#1b1f24', dark: '#e6edf3' };
export const muted: Record<Theme, string> = { light: '#57606a', dark: '#9aa4af' };
export const grid: Record<Theme, string> = { light: '#e7eaee', dark: '#232c37' };
export const hole: Record<Theme, string> = { light: '#eef1f4', dark: '#10151b' };
export const accent: Record<Theme, string> = { light: '#C2410C', dark: '#FF8A3D' };

export type Rgb = readonly [number, number, number];

/* Cividis, sampled at 17 points; between them it is close enough to linear. */
const CIVIDIS = [
	'00224e', '02296a', '1b336f', '2f3d6d', '3f466b', '4d506c', '5a5a6f', '676473', '736e76', '817978',
	'8f8477', '9e8f75', 'ae9b70', 'bea868', 'd0b55d', 'e3c34d', 'fee838',
].map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

export const cividis: readonly Rgb[] = Array.from(
	{ length: 256 },
	(_, i) => {
		const at = (i / 255) * (CIVIDIS.length - 1);
		const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
		const mix = (c: number) =>
			Math.round(CIVIDIS[low]![c]! * (low + 1 - at) + CIVIDIS[low + 1]![c]! * (at - low));
		return [mix(0), mix(1), mix(2)] as const;
	},
);

export function cividisCss(share: number): string {
	const [r, g, b] = cividis[Math.max(0, Math.min(255, Math.round(share * 255)))]!;
	return `rgb(${r} ${g} ${b})`;
}

export function parseHex(hex: string): [number, number, number] {
	const n = parseInt(hex.slice(1), 16);
	return [n >> 16, (n >> 8) & 255, n & 255];
}

export function alpha(hex: string, opacity: number): string {
	const [r, g, b] = parseHex(hex);
	return `rgba(${r}, ${g}, ${b}, ${opacity})`;
}

export function luminance([r, g, b]: readonly [number, number, number]): number {
	const linear = (v: number) => (v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
	return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

export function contrast(a: string, b: string): number {
	const [high, low] = [luminance(parseHex(a)), luminance(parseHex(b))].sort((x, y) => y - x);
	return (high! + 0.05) / (low! + 0.05);
}

/* Black or white, whichever reads better on a cell of the map. */
export function inkOn(share: number): string {
	return luminance(cividis[Math.round(Math.max(0, Math.min(1, share)) * 255)]!) > 0.18
		? '#111418'
		: '#ffffff';
}

/* A calm, stable colour for a function: hue by its module or name, light enough for dark text. */
export function functionColour(name: string): string {
	let hash = 2166136261;
	for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
	const hue = 18 + ((hash >>> 0) % 44);
	const lightness = 68 + ((hash >>> 12) % 12);
	return `hsl(${hue} 82% ${lightness}%)`;
}

/* Less is blue, more is orange, the same is nearly white; light enough for dark text in all cases. */
export function changeColour(share: number): string {
	const depth = Math.min(1, Math.abs(share));
	return `hsl(${share < 0 ? 205 : 28} ${Math.round(20 + 65 * depth)}% ${Math.round(93 - 25 * depth)}%)`;
}

/* The same for squares on the page's own ground. */
export function changeRgb(share: number, now: Theme): Rgb {
	const depth = Math.min(1, Math.abs(share)) ** 0.7;
	const from = parseHex(now === 'dark' ? '#39424e' : '#dfe3e8');
	const to = parseHex(share < 0 ? (now === 'dark' ? '#56B4E9' : '#0072B2') : now === 'dark' ? '#FF8A3D' : '#D55E00');
	return [0, 1, 2].map((i) => Math.round(from[i]! + (to[i]! - from[i]!) * depth)) as unknown as Rgb;
}
