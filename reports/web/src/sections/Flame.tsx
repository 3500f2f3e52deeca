// SPDX-License-Identifier: MIT
/* Where in the code does it come from? d3-flame-graph over the folded stacks. */
import flamegraph, { type FlameGraph, type FlameNode } from 'd3-flame-graph';
import { select } from 'd3-selection';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Frame } from '../doc';
import { changeColour, functionColour } from '../colour';
import { bytes, count, percent, signed, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { siteOf } from '../names';
import { useWidth } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { hideTip, showTip } from '../parts/Tip';
import { metric, query, site } from '../store';

export interface Tree {
	name: string; // what the box says
	all: string; // every function of the box, for the search
	value: number; // with what it called
	own: number;
	children: Tree[];
	marked?: boolean;
	change?: number; // against another recording, of all below
}

/* The tree of one metric; functions without a share of it are left out. */
export function buildTree(
	functions: string[],
	parent: ArrayLike<number>,
	fn: ArrayLike<number>,
	own: ArrayLike<number>,
): Tree {
	const n = parent.length;
	const total = Float64Array.from({ length: n }, (_, i) => own[i] ?? 0);
	/* a parent stands before its children */
	for (let i = n - 1; i > 0; i--) total[parent[i]!]! += total[i]!;
	const nodes: (Tree | null)[] = new Array(n).fill(null);
	for (let i = 0; i < n; i++) {
		if (i > 0 && total[i] === 0) continue;
		const name = visible(functions[fn[i]!] ?? '?') || '?';
		const node: Tree = {
			name,
			all: name,
			value: total[i]!,
			own: own[i] ?? 0,
			children: [],
		};
		nodes[i] = node;
		if (i > 0) nodes[parent[i]!]?.children.push(node);
	}
	for (const node of nodes) node?.children.sort((a, b) => b.value - a.value);
	return nodes[0] ?? { name: '', all: '', value: 0, own: 0, children: [] };
}

/* A tree of stacks with a value each, for what the document has by site and not by node. */
export function treeOfStacks(list: { stack: Frame[]; value: number; change?: number }[]): Tree {
	const node = (name: string): Tree => ({ name, all: name, value: 0, own: 0, children: [] });
	const root = node('all');
	for (const { stack, value, change } of list) {
		let at = root;
		const path = [...stack].reverse().map((frame) => visible(frame.function) || '?');
		const add = (tree: Tree) => {
			tree.value += value;
			if (change !== undefined) tree.change = (tree.change ?? 0) + change;
		};
		add(root);
		for (const name of path) {
			let next = at.children.find((child) => child.name === name);
			if (!next) at.children.push((next = node(name)));
			add(next);
			at = next;
		}
		at.own += value;
	}
	const sort = (tree: Tree) => {
		tree.children.sort((a, b) => b.value - a.value);
		tree.children.forEach(sort);
	};
	sort(root);
	return root;
}

/* The same calls from the inside: what allocates at the top, who calls it below. */
export function callers(root: Tree): Tree {
	const out: Tree = { ...root, own: 0, children: [] };
	const visit = (tree: Tree, path: string[]) => {
		const here = [tree.name, ...path];
		if (tree.own > 0 && tree !== root) {
			let at = out;
			for (const name of here) {
				let next = at.children.find((child) => child.name === name);
				if (!next) at.children.push((next = { name, all: name, value: 0, own: 0, children: [] }));
				next.value += tree.own;
				at = next;
			}
			at.own += tree.own;
		}
		for (const child of tree.children) visit(child, tree === root ? [] : here);
	};
	visit(root, []);
	const sort = (tree: Tree) => {
		tree.children.sort((a, b) => b.value - a.value);
		tree.children.forEach(sort);
	};
	sort(out);
	out.value = out.children.reduce((sum, child) => sum + child.value, 0);
	return out;
}

/*
 * A box for each straight run of calls: where a function passes all that it has on to one callee, the
 * two are one box. Interpreters have stacks of hundreds of such frames.
 */
export function foldChains(root: Tree): Tree {
	const children = root.children.map(foldChains);
	const only = children[0];
	if (children.length !== 1 || !only || root.own > 0 || only.value !== root.value)
		return { ...root, children };
	const names = [...root.all.split(CHAIN), ...only.all.split(CHAIN)];
	const shown = names.length > 3 ? [names[0], `… ${names.length - 2} …`, names.at(-1)] : names;
	return {
		...only,
		name: shown.join(CHAIN),
		all: names.join(CHAIN),
		marked: root.marked || only.marked,
	};
}

/* Mark the path of a stack, outermost frame first; how deep it could be followed. */
export function markStack(root: Tree, stack: Frame[]): number {
	let node: Tree | undefined = root;
	let depth = 0;
	for (const frame of [...stack].reverse()) {
		const next: Tree | undefined = node.children.find((child) => child.name === visible(frame.function));
		if (!next) {
			if (depth === 0) continue; // frames outside of the folded part
			break;
		}
		next.marked = true;
		node = next;
		depth++;
	}
	return depth;
}

const METRICS = ['leaked', 'peak', 'allocated', 'count', 'temporary'];
const isBytes = (name: string) => name !== 'count';
const CELL = 20;
const CHAIN = ' › ';
const DEEP = 24; // rows from which straight runs are folded unasked

export function Flame({ doc }: { doc: Doc }) {
	const flame = doc.flame;
	const offered = [
		...METRICS.filter((name) => doc.data.has(`flame.${name}`)),
		...(doc.frag?.sites.some((s) => s.shapley > 0) ? ['pinned'] : []),
		...(doc.diff ? ['diff'] : []),
	];
	const name = offered.includes(metric.value) ? metric.value : (offered[0] ?? 'leaked');
	const bySite = name === 'pinned' || name === 'diff';
	const loaded = useColumns(doc, bySite ? [] : ['flame.parent', 'flame.function', `flame.${name}`]);
	const [upwards, setUpwards] = useState(false);
	const [folding, setFolding] = useState<boolean | null>(null); // null: as the depth asks for
	const [inside, setInside] = useState(false);
	const [zoomed, setZoomed] = useState(false);
	const [matched, setMatched] = useState<number | null>(null);
	const graph = useRef<FlameGraph | null>(null);
	const box = useRef<HTMLDivElement>(null);
	const width = useWidth(box);
	const values: Values[] | null = loaded && 'values' in loaded ? loaded.values : null;
	const chosen = site.value;
	const words = query.value.trim();

	const tree = useMemo(() => {
		let root: Tree;
		if (name === 'pinned') root = treeOfStacks(pinnedStacks(doc));
		else if (name === 'diff') root = treeOfStacks(diffStacks(doc));
		else if (!flame || !values || values.length < 3 || values[0]!.length === 0) return null;
		else root = buildTree(flame.functions, values[0]!, values[1]!, values[2]!);
		const stack = siteOf(doc, chosen)?.stack;
		if (stack && !inside) markStack(root, stack);
		return inside ? callers(root) : root;
	}, [flame, values, chosen, name, inside]);
	const folded = folding ?? (tree !== null && depthOf(tree, tree.value / 1000) > DEEP);
	const drawn = useMemo(() => (tree && folded ? foldChains(tree) : tree), [tree, folded]);

	const show = (value: number) => (isBytes(name) ? bytes(value) : count(value));

	useEffect(() => {
		const element = box.current;
		if (!element || !drawn || drawn.value === 0 || width < 40) return;
		element.replaceChildren();
		const chart = flamegraph()
			.width(width)
			.cellHeight(CELL)
			.height((depthOf(drawn, drawn.value / width) + 1) * CELL)
			.inverted(!upwards)
			.sort(false)
			.minFrameSize(1)
			.transitionDuration(0)
			.tooltip({
				show: (event: MouseEvent, d: FlameNode) =>
					showTip(event, [
						...d.data.all.split(CHAIN).slice(0, 12),
						`${show(d.data.value)} · ${percent(d.data.value / drawn.value)}`,
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
			.setSearchHandler((_results: unknown, sum: number, total: number) =>
				setMatched(total > 0 ? sum / total : 0),
			)
			.onClick((d: FlameNode) => setZoomed(d.parent !== null));
		select(element).datum(drawn).call(chart);
		graph.current = chart;
		setZoomed(false);
		if (words) chart.search(words);
		return () => {
			hideTip();
			graph.current = null;
		};
	}, [drawn, width, upwards]);

	useEffect(() => {
		if (!graph.current) return;
		if (words) graph.current.search(words);
		else {
			graph.current.clear();
			setMatched(null);
		}
	}, [words]);

	if (!flame) return null;
	const widest = tree ? deepest(tree) : null;
	model('flame', () => ({ metric: name, inside, total: tree?.value, widest: widest?.name }));
	const answer =
		tree && widest && tree.value > 0
			? t('flame.a', widest.name, `${show(widest.value)} (${percent(widest.value / tree.value, 0)})`, `${t(`metric.${name}` as 'metric.leaked')}: ${show(tree.value)}`)
			: undefined;

	return (
		<Section
			id="flame"
			question={t('flame.q')}
			answer={answer}
			how={t('flame.how')}
			bare={!tree || tree.value === 0}
			tools={
				<>
					<span class="switch" role="group" aria-label={t('frag.metric')}>
						{offered.map((m) => (
							<button type="button" title={tOr('metric.how', m)} aria-pressed={m === name} onClick={() => (metric.value = m)}>
								{tOr('metric', m)}
							</button>
						))}
					</span>
					<button type="button" aria-pressed={folded} onClick={() => setFolding(!folded)}>
						{t('flame.fold')}
					</button>
					<button type="button" aria-pressed={inside} onClick={() => setInside(!inside)}>
						{t('flame.callers')}
					</button>
					<button type="button" data-key="i" aria-pressed={upwards} onClick={() => setUpwards(!upwards)}>
						{t('flame.invert')}
					</button>
					{zoomed && (
						<button type="button" onClick={() => graph.current?.resetZoom()}>
							{t('flame.unzoom')}
						</button>
					)}
				</>
			}
		>
			{matched !== null && words && (
				<p class="muted" role="status">
					{t('flame.matched', percent(matched), words)}
				</p>
			)}
			{!tree ? (
				<Waiting state={loaded} />
			) : tree.value === 0 ? (
				<p class="empty">{t('flame.none')}</p>
			) : null}
			<div class="flame-scroll">
			<div
				ref={box}
				class="flame"
				role="img"
				hidden={!tree || tree.value === 0}
				aria-label={
					tree
						? t('flame.aria', tOr('metric', name), flatten(tree).length, widest?.name ?? '')
						: t('loading')
				}
				aria-describedby="flame-table"
			/>
			</div>
			{!bySite && flame.other && flame.other.sites > 0 && (
				<p class="muted after">
					{t('flame.other', count(flame.other.sites), bytes(flame.other.bytes))}
				</p>
			)}
			{tree && (
				<TableTwin
					id="flame-table"
					twin={{
						caption: `${t('flame.nav')}: ${tOr('metric', name)}`,
						head: [t('col.name'), tOr('metric', name), t('frag.share')],
						rows: () => flatten(tree).map((f) => [f.name, f.own, f.own / Math.max(1, tree.value)]),
						show: (cell, column) =>
							column === 0 ? String(cell) : column === 1 ? show(Number(cell)) : percent(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

const pinnedStacks = (doc: Doc) =>
	(doc.frag?.sites ?? []).filter((s) => s.shapley > 0).map((s) => ({ stack: s.stack, value: s.shapley }));

/* As wide as the larger of both recordings; the colour says which one it is. */
const diffStacks = (doc: Doc) =>
	(doc.diff?.sites ?? []).map((row) => ({
		stack: row.stack,
		value: Math.max(row.a?.live_bytes ?? 0, row.b?.live_bytes ?? 0),
		change: row.delta_live_bytes,
	}));

/* Down the widest branch while it holds more than half of the whole: the function to name. */
function deepest(root: Tree): Tree {
	let node = root;
	while (node.children[0] && node.children[0].value > root.value * 0.25) node = node.children[0];
	return node;
}

/* How deep the boxes go that are at least a pixel wide. */
function depthOf(node: Tree, least: number): number {
	let depth = 0;
	for (const child of node.children)
		if (child.value >= least) depth = Math.max(depth, 1 + depthOf(child, least));
	return depth;
}

/* Functions with what they allocated themselves, largest first. */
function flatten(root: Tree): { name: string; own: number }[] {
	const sums = new Map<string, number>();
	const visit = (node: Tree) => {
		if (node.own > 0) sums.set(node.name, (sums.get(node.name) ?? 0) + node.own);
		node.children.forEach(visit);
	};
	visit(root);
	return [...sums].map(([name, own]) => ({ name, own })).sort((a, b) => b.own - a.own);
}
