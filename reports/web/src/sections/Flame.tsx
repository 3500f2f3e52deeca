// SPDX-License-Identifier: MIT
/* Where in the code does it come from? The folded stacks as flame graphs, of the run or of a range of it. */
import { useMemo, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc } from '../doc';
import { bytes, clock, count, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { siteOf } from '../names';
import { FlameBox } from '../parts/FlameBox';
import { useInSight, useSettled } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { metric, query, range, site, span } from '../store';
import {
	atLeast, buildTree, callers, collapseRecursion, deepest, depthOf, flatten, foldChains, IN_RANGE, markStack,
	ownInRange, sandwich, stepsIn, treeOfStacks, type InRange, type Tree,
} from './tree';

const METRICS = ['leaked', 'peak', 'allocated', 'count', 'temporary'];
const STEPS = ['flame.step_ns', 'flame.step_node', 'flame.step_live', 'flame.step_allocated', 'flame.step_count'];
const SHARES = [0, 0.001, 0.005, 0.01, 0.05];
const isBytes = (name: string) => name !== 'count';
const DEEP = 24; // rows from which straight runs are folded unasked

export function Flame({ doc }: { doc: Doc }) {
	const flame = doc.flame;
	const hasSteps = doc.data.has('flame.step_ns');
	const chosenRange = useSettled(hasSteps ? range.value : null, useInSight('flame'));
	const [whole, setWhole] = useState(false); // of the run, whatever range is chosen
	const ranged = chosenRange !== null && !whole;
	const offered = [
		...METRICS.filter((name) => doc.data.has(`flame.${name}`)).flatMap((name) =>
			name === 'leaked' && ranged ? [name, 'grown'] : [name],
		),
		...(doc.frag?.sites.some((s) => s.shapley > 0) ? ['pinned'] : []),
		...(doc.diff ? ['diff'] : []),
	];
	const name = offered.includes(metric.value) ? metric.value : (offered[0] ?? 'leaked');
	const bySite = name === 'pinned' || name === 'diff';
	const inRange = ranged && (IN_RANGE as readonly string[]).includes(name);
	const loaded = useColumns(
		doc,
		bySite ? [] : ['flame.parent', 'flame.function', ...(inRange ? STEPS : [`flame.${name}`])],
	);
	const [upwards, setUpwards] = useState(false);
	const [folding, setFolding] = useState<boolean | null>(null); // null: as the depth asks for
	const [inside, setInside] = useState(false);
	const [once, setOnce] = useState(false); // recursion collapsed
	const [least, setLeast] = useState(0);
	const [picked, setPicked] = useState<string | null>(null); // the function zoomed into
	const [focus, setFocus] = useState<string | null>(null); // the function of the sandwich
	const [unzoom, setUnzoom] = useState(0);
	const [matched, setMatched] = useState<number | null>(null);
	const values: Values[] | null = loaded && 'values' in loaded ? loaded.values : null;
	const chosen = site.value;
	const words = query.value.trim();
	const [from, to] = chosenRange ?? [0, span.value];

	const whatever = useMemo(() => {
		let root: Tree;
		if (name === 'pinned') root = treeOfStacks(pinnedStacks(doc));
		else if (name === 'diff') root = treeOfStacks(diffStacks(doc));
		else if (!flame || !values || values.length !== (inRange ? 7 : 3) || values[0]!.length === 0) return null;
		else {
			const [times, node, live, allocated, n] = values.slice(2) as [Values, Values, Values, Values, Values];
			const own = inRange
				? ownInRange(values[0]!.length, { times, node, live, allocated, count: n }, [from, to], name as InRange)
				: times;
			root = buildTree(flame.functions, values[0]!, values[1]!, own);
		}
		const stack = siteOf(doc, chosen)?.stack;
		if (stack && !inside) markStack(root, stack);
		return once ? collapseRecursion(root) : root;
	}, [flame, values, chosen, name, inside, once, inRange, from, to]);
	const tree = useMemo(() => (whatever && inside ? callers(whatever) : whatever), [whatever, inside]);
	const folded = folding ?? (tree !== null && depthOf(tree, tree.value / 1000) > DEEP);
	const shape = (root: Tree) => {
		const large = least > 0 ? atLeast(root, root.value * least, (n) => t('flame.below', count(n))) : root;
		return folded ? foldChains(large) : large;
	};
	const drawn = useMemo(() => tree && shape(tree), [tree, folded, least]);
	const both = useMemo(() => {
		if (!whatever || focus === null) return null;
		const sides = sandwich(whatever, focus);
		return { ...sides, drawn: { callers: shape(sides.callers), callees: shape(sides.callees) } };
	}, [whatever, focus, folded, least]);

	const show = (value: number) => (isBytes(name) ? bytes(value) : count(value));
	if (!flame) return null;
	const widest = tree ? deepest(tree) : null;
	const steps = inRange && values?.length === 7 ? stepsIn(values[2]!, [from, to]) : null;
	const covered = steps && ([steps.before < 0 ? 0 : values![2]![steps.before]!, values![2]![steps.last]!] as const);
	model('flame', () => ({
		metric: name, inside, total: tree?.value, widest: widest?.name, boxes: drawn ? sizeOf(drawn) : 0,
		focus: both && { name: focus, value: both.callees.value, callers: both.callers.children.length, callees: both.callees.children.length },
		range: covered,
	}));
	const empty = !tree || tree.value === 0;
	const answer =
		tree && widest && !empty
			? t('flame.a', widest.name, `${show(widest.value)} (${percent(widest.value / tree.value, 0)})`, `${tOr('metric', name)}: ${show(tree.value)}`)
			: undefined;
	const box = { show, words };
	const known = siteOf(doc, chosen);
	const offer = picked ?? (known ? visible(known.name) : null); // what a sandwich could be about

	return (
		<Section
			id="flame"
			question={t('flame.q')}
			answer={answer}
			how={t('flame.how')}
			bare={empty}
			tools={
				<>
					<span class="switch" role="group" aria-label={t('frag.metric')}>
						{offered.map((m) => (
							<button type="button" title={tOr('metric.how', m)} aria-pressed={m === name} onClick={() => (metric.value = m)}>
								{tOr('metric', m)}
							</button>
						))}
					</span>
					{chosenRange && (
						<button type="button" aria-pressed={ranged} onClick={() => setWhole(!whole)}>
							{t('flame.range')}
						</button>
					)}
					<button type="button" aria-pressed={folded} onClick={() => setFolding(!folded)}>
						{t('flame.fold')}
					</button>
					<button type="button" aria-pressed={once} onClick={() => setOnce(!once)}>
						{t('flame.once')}
					</button>
					<button type="button" aria-pressed={inside} onClick={() => setInside(!inside)}>
						{t('flame.callers')}
					</button>
					<button type="button" data-key="i" aria-pressed={upwards} onClick={() => setUpwards(!upwards)}>
						{t('flame.invert')}
					</button>
					<label class="order-pick">
						{t('flame.least')}{' '}
						<select value={least} onChange={(event) => setLeast(Number(event.currentTarget.value))}>
							{SHARES.map((share) => (
								<option value={share}>{share === 0 ? t('flame.least.all') : percent(share)}</option>
							))}
						</select>
					</label>
				</>
			}
		>
			{ranged && (
				<p class="muted" role="status">
					{covered
						? t('flame.range.of', clock(covered[0], span.value), clock(covered[1], span.value))
						: inRange
							? t('loading')
							: t('flame.range.not', tOr('metric', name))}
				</p>
			)}
			{matched !== null && words && !both && (
				<p class="muted" role="status">
					{t('flame.matched', percent(matched), words)}
				</p>
			)}
			{(offer !== null || both) && !empty && (
				<p class="flame-focus">
					{offer !== null && offer !== focus && (
						<button type="button" onClick={() => setFocus(offer)}>
							{t('flame.both', offer)}
						</button>
					)}
					{picked !== null && (
						<button type="button" onClick={() => setUnzoom(unzoom + 1)}>
							{t('flame.unzoom')}
						</button>
					)}
					{both && (
						<button type="button" onClick={() => setFocus(null)}>
							{t('flame.both.end')}
						</button>
					)}
				</p>
			)}
			{!tree ? <Waiting state={loaded} /> : empty ? <p class="empty">{t('flame.none')}</p> : null}
			{both && focus !== null ? (
				both.callees.value === 0 ? (
					<p class="empty">{t('flame.both.none', focus)}</p>
				) : (
					<>
						<h3>{t('flame.both.callers', focus, `${show(both.callees.value)} (${percent(both.callees.value / Math.max(1, tree?.value ?? 1))})`)}</h3>
						<FlameBox {...box} tree={both.drawn.callers} upwards label={t('flame.both.callers', focus, show(both.callees.value))} onPick={setPicked} unzoom={unzoom} />
						<h3>{t('flame.both.callees', focus)}</h3>
						<FlameBox {...box} tree={both.drawn.callees} label={t('flame.both.callees', focus)} onPick={setPicked} unzoom={unzoom} />
					</>
				)
			) : (
				<FlameBox
					{...box}
					tree={drawn}
					upwards={upwards}
					label={tree ? t('flame.aria', tOr('metric', name), flatten(tree).length, widest?.name ?? '') : t('loading')}
					describedBy="flame-table"
					onPick={setPicked}
					onMatched={setMatched}
					unzoom={unzoom}
				/>
			)}
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

const sizeOf = (tree: Tree): number => tree.children.reduce((sum, child) => sum + sizeOf(child), 1);

const pinnedStacks = (doc: Doc) =>
	(doc.frag?.sites ?? []).filter((s) => s.shapley > 0).map((s) => ({ stack: s.stack, value: s.shapley }));

/* As wide as the larger of both recordings; the colour says which one it is. */
const diffStacks = (doc: Doc) =>
	(doc.diff?.sites ?? []).map((row) => ({
		stack: row.stack,
		value: Math.max(row.a?.live_bytes ?? 0, row.b?.live_bytes ?? 0),
		change: row.delta_live_bytes,
	}));
