// SPDX-License-Identifier: MIT
/* The part of d3-flame-graph that the page uses; the package carries no types. */
declare module 'd3-flame-graph' {
	import type { Selection } from 'd3-selection';

	export interface FlameNode {
		data: import('./sections/tree').Tree;
		parent: FlameNode | null;
		highlight?: boolean;
	}

	export interface FlameGraph {
		(selection: Selection<never, never, never, never>): void;
		width(pixels: number): this;
		cellHeight(pixels: number): this;
		height(pixels: number): this;
		inverted(on: boolean): this;
		sort(on: boolean): this;
		minFrameSize(pixels: number): this;
		transitionDuration(ms: number): this;
		tooltip(tip: unknown): this;
		setColorMapper(colour: (node: FlameNode) => string): this;
		setSearchMatch(match: (node: FlameNode, term: string) => boolean): this;
		setSearchHandler(handler: (results: unknown, sum: number, total: number) => void): this;
		onClick(handler: (node: FlameNode) => void): this;
		search(term: string): void;
		clear(): void;
		resetZoom(): void;
	}

	export default function flamegraph(): FlameGraph;
}

declare module 'd3-selection' {
	export interface Selection<_A, _B, _C, _D> {
		datum(value: unknown): this;
		call(f: unknown): this;
	}
	export const selection: { prototype: object };
	export function select(element: Element): Selection<never, never, never, never>;
}
