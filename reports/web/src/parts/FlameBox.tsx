// SPDX-License-Identifier: MIT
/* A tree of calls as boxes: d3-flame-graph, drawn anew when the tree or the width changes. */
import flamegraph, { type FlameGraph, type FlameNode } from 'd3-flame-graph';
import { select } from 'd3-selection';
import { useEffect, useRef } from 'preact/hooks';
import { changeColour, functionColour } from '../colour';
import { percent, signed } from '../format';
import { t } from '../i18n';
import { CHAIN, depthOf, type Tree } from '../sections/tree';
import { useWidth } from './hooks';
import { hideTip, showTip } from './Tip';

const CELL = 20;

export interface FlameBoxProps {
	tree: Tree | null;
	upwards?: boolean;
	show: (value: number) => string;
	words: string; // of the search
	label: string;
	describedBy?: string;
	/* The innermost function of the box that was zoomed into; null: the whole. */
	onPick: (name: string | null) => void;
	onMatched?: (share: number | null) => void;
	unzoom: number; // another value: zoom out
}

export function FlameBox({ tree, upwards, show, words, label, describedBy, onPick, onMatched, unzoom }: FlameBoxProps) {
	const graph = useRef<FlameGraph | null>(null);
	const box = useRef<HTMLDivElement>(null);
	const width = useWidth(box);
	const shown = tree !== null && tree.value > 0;

	useEffect(() => {
		const element = box.current;
		if (!element || !tree || !shown || width < 40) return;
		element.replaceChildren();
		const chart = flamegraph()
			.width(width)
			.cellHeight(CELL)
			.height((depthOf(tree, tree.value / width) + 1) * CELL)
			.inverted(!upwards)
			.sort(false)
			.minFrameSize(1)
			.transitionDuration(0)
			.tooltip({
				show: (event: MouseEvent, d: FlameNode) =>
					showTip(event, [
						...d.data.all.split(CHAIN).slice(0, 12),
						`${show(d.data.value)} · ${percent(d.data.value / tree.value)}`,
						...(d.data.change === undefined ? [] : [t('flame.change', signed(d.data.change))]),
						...(d.data.own > 0 ? [t('flame.own', show(d.data.own))] : []),
					]),
				hide: hideTip,
			} as never)
			.setColorMapper((d: FlameNode) =>
				d.highlight || d.data.marked
					? '#7CC0F5'
					: d.data.change === undefined
						? functionColour(d.data.name)
						: changeColour(d.data.change / Math.max(1, d.data.value)),
			)
			.setSearchMatch((d: FlameNode, term: string) =>
				term === '' ? false : d.data.all.toLowerCase().includes(term.toLowerCase()),
			)
			.setSearchHandler((_results: unknown, sum: number, total: number) => onMatched?.(total > 0 ? sum / total : 0))
			.onClick((d: FlameNode) => onPick(d.parent === null ? null : d.data.all.split(CHAIN).at(-1)!));
		select(element).datum(tree).call(chart);
		graph.current = chart;
		onPick(null);
		if (words) chart.search(words);
		return () => {
			hideTip();
			graph.current = null;
		};
	}, [tree, width, upwards]);

	useEffect(() => {
		if (!graph.current) return;
		if (words) graph.current.search(words);
		else {
			graph.current.clear();
			onMatched?.(null);
		}
	}, [words]);
	useEffect(() => {
		if (unzoom > 0) graph.current?.resetZoom();
	}, [unzoom]);

	return (
		<div class="flame-scroll">
			<div ref={box} class="flame" role="img" hidden={!shown} aria-label={label} aria-describedby={describedBy} />
		</div>
	);
}
