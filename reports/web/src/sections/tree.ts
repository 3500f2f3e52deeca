// SPDX-License-Identifier: MIT
/* Trees of calls: made of the document's nodes or of stacks, and looked at from other sides. */
import type { Frame } from '../doc';
import { visible } from '../format';

export const CHAIN = ' › ';

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

/* ---- other sides ----------------------------------------------------------------------------- */

const leaf = (name: string): Tree => ({ name, all: name, value: 0, own: 0, children: [] });

function childOf(tree: Tree, name: string): Tree {
	let found = tree.children.find((child) => child.name === name);
	if (!found) tree.children.push((found = leaf(name)));
	return found;
}

/* Values from what is a node's own, the largest child first. */
function settle(tree: Tree): Tree {
	tree.value = tree.own;
	for (const child of tree.children) tree.value += settle(child).value;
	tree.children.sort((a, b) => b.value - a.value);
	return tree;
}

/*
 * A function that is called again below itself, directly or by way of others, is one box: what the
 * inner call holds and calls goes to the outermost one.
 */
export function collapseRecursion(root: Tree): Tree {
	const visit = (tree: Tree, out: Tree, path: Map<string, Tree>) => {
		out.own += tree.own;
		if (tree.marked) out.marked = true;
		for (const child of tree.children) {
			const above = path.get(child.name);
			if (above) {
				visit(child, above, path);
				continue;
			}
			const next = childOf(out, child.name);
			if (child.change !== undefined) next.change = (next.change ?? 0) + child.change;
			path.set(child.name, next);
			visit(child, next, path);
			path.delete(child.name);
		}
	};
	const out: Tree = { ...root, own: 0, children: [] };
	visit(root, out, new Map([[root.name, out]]));
	return settle(out);
}

/* Boxes of less than so much are one of them all, below each parent. */
export function atLeast(root: Tree, least: number, name: (n: number) => string): Tree {
	const small = root.children.filter((child) => child.value < least);
	const children = root.children.filter((child) => child.value >= least).map((child) => atLeast(child, least, name));
	const sum = small.reduce((total, child) => total + child.value, 0);
	if (small.length === 1) children.push({ ...small[0]!, children: [] });
	else if (sum > 0) {
		const rest = leaf(name(small.length));
		rest.value = sum;
		rest.marked = small.some((child) => child.marked);
		children.push(rest);
	}
	return { ...root, children };
}

/*
 * One function, wherever it is called: what it calls, joined, and who calls it, from the inside out.
 * Where it calls itself, the outermost call counts, so that nothing counts twice.
 */
export function sandwich(root: Tree, name: string): { callees: Tree; callers: Tree } {
	const callees = leaf(name);
	const callersOf = leaf(name);
	const join = (tree: Tree, out: Tree) => {
		out.own += tree.own;
		for (const child of tree.children) join(child, childOf(out, child.name));
	};
	const visit = (tree: Tree, path: string[]) => {
		if (tree.name === name && path.length > 0) {
			join(tree, callees);
			let at = callersOf;
			for (const caller of path.slice(1).reverse()) at = childOf(at, caller);
			at.own += tree.value;
			return;
		}
		for (const child of tree.children) visit(child, [...path, tree.name]);
	};
	visit(root, []);
	return { callees: settle(callees), callers: settle(callersOf) };
}

/* ---- a range of time ------------------------------------------------------------------------- */

/* What the document has of a node step by step: at the ends of steps, or (amounts) within them. */
export interface Steps {
	times: ArrayLike<number>; // ends of the steps
	node: ArrayLike<number>; // of each row
	live: ArrayLike<number>; // row by row, at the end of each step
	allocated: ArrayLike<number>;
	count: ArrayLike<number>;
}

export const IN_RANGE = ['leaked', 'grown', 'allocated', 'count'] as const;
export type InRange = (typeof IN_RANGE)[number];

/* The steps that a range of time takes: from the end of `before` (-1: the begin) to the end of `last`. */
export function stepsIn(times: ArrayLike<number>, [a, b]: readonly [number, number]) {
	let last = 0;
	while (last + 1 < times.length && times[last]! < b) last++;
	let before = -1;
	while (before + 1 < last && times[before + 1]! <= a) before++;
	return { before, last };
}

/* A metric of each node, of that range alone. */
export function ownInRange(n: number, steps: Steps, range: readonly [number, number], metric: InRange): Float64Array {
	const out = new Float64Array(n);
	const { before, last } = stepsIn(steps.times, range);
	const S = steps.times.length;
	for (let row = 0; row < steps.node.length; row++) {
		const at = row * S;
		let value = 0;
		if (metric === 'leaked') value = steps.live[at + last]!;
		else if (metric === 'grown')
			value = Math.max(0, steps.live[at + last]! - (before < 0 ? 0 : steps.live[at + before]!));
		else for (let i = before + 1; i <= last; i++) value += steps[metric][at + i]!;
		out[steps.node[row]!] = value;
	}
	return out;
}

/* ---- what is in a tree ------------------------------------------------------------------------ */

/* Down the widest branch while it holds more than half of the whole: the function to name. */
export function deepest(root: Tree): Tree {
	let node = root;
	while (node.children[0] && node.children[0].value > root.value * 0.25) node = node.children[0];
	return node;
}

/* How deep the boxes go that are at least a pixel wide. */
export function depthOf(node: Tree, least: number): number {
	let depth = 0;
	for (const child of node.children)
		if (child.value >= least) depth = Math.max(depth, 1 + depthOf(child, least));
	return depth;
}

/* Functions with what they allocated themselves, largest first. */
export function flatten(root: Tree): { name: string; own: number }[] {
	const sums = new Map<string, number>();
	const visit = (node: Tree) => {
		if (node.own > 0) sums.set(node.name, (sums.get(node.name) ?? 0) + node.own);
		node.children.forEach(visit);
	};
	visit(root);
	return [...sums].map(([name, own]) => ({ name, own })).sort((a, b) => b.own - a.own);
}
