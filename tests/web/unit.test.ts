// SPDX-License-Identifier: MIT
/*
 * The front end's own logic, without a browser: codecs against what the C side wrote, formats, the
 * address's state, texts, colours, layout of the map. WEB_FIXTURES names the folder of fixtures.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { background, cividis, contrast, lines, muted, other, text } from '../../reports/web/src/colour';
import { decodeChunk, fromBase64, gunzip, type ColumnInfo } from '../../reports/web/src/container';
import { frameText, stackText, type Doc } from '../../reports/web/src/doc';
import { sinceHalf } from '../../reports/web/src/evidence';
import { bytes, clock, count, duration, percent, rate, visible } from '../../reports/web/src/format';
import { nameOf, siteByKey, siteKey } from '../../reports/web/src/names';
import { toCsv } from '../../reports/web/src/parts/Section';
import { byteSteps, ticks, timeSteps } from '../../reports/web/src/parts/ticks';
import { affordable } from '../../reports/web/src/sections/Compact';
import { byEvents } from '../../reports/web/src/sections/Diff';
import {
	atLeast, buildTree, callers, collapseRecursion, foldChains, markStack, ownInRange, sandwich, stepsIn, treeOfStacks, type Tree,
} from '../../reports/web/src/sections/tree';
import { layoutBands, paintCells, shares } from '../../reports/web/src/sections/HeapMap';
import { suppression } from '../../reports/web/src/sections/Leaks';
import { medianBin } from '../../reports/web/src/sections/Lifetimes';
import {
	binOf, cellUnder, commonRegions, difference, listRange, nearest, onto, placeRegions, type Squares,
} from '../../reports/web/src/sections/cells';
import { returnable, window } from '../../reports/web/src/sections/Pages';
import { prepare, resample } from '../../reports/web/src/sections/Timeline';
import { clampRange, formatHash, parseHash, span } from '../../reports/web/src/store';
import { en, zh } from '../../reports/web/src/strings';
import { machineEn, machineZh } from '../../reports/web/src/strings-machine';

const fixtures = process.env.WEB_FIXTURES!;

async function open(kind: string) {
	const html = readFileSync(join(fixtures, `${kind}.html`), 'utf8');
	const block = async (id: string) => {
		const found = new RegExp(`id="${id}">([A-Za-z0-9+/=]*)</script>`).exec(html);
		assert.ok(found, `block ${id} is in the file`);
		return gunzip(fromBase64(found[1]!));
	};
	const boot = JSON.parse(new TextDecoder().decode(await block('boot')));
	const column = async (name: string) => {
		const index = boot.columns.findIndex((info: ColumnInfo) => info.name === name);
		const info: ColumnInfo = boot.columns[index];
		const out: number[] = [];
		for (let i = 0; i < info.chunks; i++) {
			const { header, values } = decodeChunk(await block(`c${info.chunk + i}`));
			assert.equal(header.column, index);
			assert.equal(header.part, i);
			assert.equal(header.first, out.length);
			for (const value of values) out.push(value);
		}
		assert.equal(out.length, info.n);
		return out;
	};
	return { boot, column };
}

test('integer columns at the limits of their types decode to what was written', async () => {
	const { column } = await open('codec');
	assert.deepEqual(await column('codec.u64'), [0, 2 ** 53 - 1, 0, 1, 2 ** 52 + 1, 127, 128]);
	assert.deepEqual(await column('codec.i64'), [-1, -(2 ** 31), 1, -(2 ** 52), 0]);
	assert.deepEqual(await column('codec.u32'), [0, 2 ** 32 - 1, 1, 2 ** 32 - 2]);
});

test('floating point columns decode bit for bit', async () => {
	const { column } = await open('codec');
	assert.deepEqual(await column('codec.f64'), [0.1, -1e300, 1e-300, 0, 0.333]);
});

test('a column of more than 2^20 values is put together from its parts', async () => {
	const { column } = await open('codec');
	const many = await column('codec.many');
	assert.equal(many.length, 2 ** 20 + 3);
	for (const i of [0, 1, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 2])
		assert.equal(many[i], Math.imul(i, 2654435761) >>> 0);
});

test('a damaged chunk is refused', async () => {
	const header = new Uint8Array(32);
	assert.throws(() => decodeChunk(new Uint8Array(8)), /no header/);
	assert.throws(() => decodeChunk(header), /not a chunk/);
	new DataView(header.buffer).setUint32(0, 0x43475246, true);
	header[4] = 9;
	assert.throws(() => decodeChunk(header), /newer/);
	header[4] = 1;
	header[5] = 3;
	header[6] = 1;
	header[24] = 5; // five values, and no payload
	assert.throws(() => decodeChunk(header), /ends early/);
	header[6] = 7;
	assert.throws(() => decodeChunk(header), /unknown codec/);
});

test('the exact peak is a point of the timeline', async () => {
	const { boot, column } = await open('quarter');
	const names = ['time_ns', 'live_bytes', 'usable_bytes', 'low_bytes', 'peak_bytes'];
	const columns = await Promise.all(names.map((name) => column(`timeline.${name}`)));
	const values = [...columns.map((c) => Float64Array.from(c)), new Float64Array(0), new Float64Array(0)];
	const series = prepare(boot.summary, values);
	assert.equal(Math.max(...(series.live as number[])), 123456789);
	assert.equal(series.live[Array.from(series.xs).indexOf(boot.summary.totals.peak_ns)], 123456789);
	assert.ok(Array.from(series.xs).every((x, i) => i === 0 || x > series.xs[i - 1]!), 'times rise');
});

test('with finer steps a range keeps its own peaks', async () => {
	const { boot, column } = await open('soak');
	const of = async (names: string[]) =>
		Promise.all(names.map(async (name) => Float64Array.from(await column(`timeline.${name}`))));
	const coarse = await of(['time_ns', 'live_bytes', 'usable_bytes', 'low_bytes', 'peak_bytes']);
	const fine = await of(['fine_ns', 'fine_live', 'fine_low', 'fine_high']);
	const none = new Float64Array(0);
	const series = prepare(boot.summary, [...coarse, none, none], fine);
	const needle = Array.from(series.xs).indexOf(fine[0]![8192]!);
	assert.ok(needle > 0 && series.xs.length >= 16384);
	assert.equal(series.peak[needle], fine[3]![8192]);
	assert.ok(series.peak[needle]! > series.peak[needle - 1]! + 4 * 2 ** 20);
	assert.equal(series.live[needle], fine[1]![8192]);
});

test('resampling is exact at the points and linear between them', () => {
	assert.deepEqual(resample([0, 5, 10, 15, 20, 30], [10, 20], [100, 200]), [
		null, null, 100, 150, 200, 200,
	]);
	assert.deepEqual(resample([1, 2], [], []), [null, null]);
});

test('bytes are binary, and never more digits than they mean', () => {
	assert.equal(bytes(0), '0 B');
	assert.equal(bytes(1023), '1023 B');
	assert.equal(bytes(1024), '1.00 KiB');
	assert.equal(bytes(1024 ** 2 * 14.25), '14.3 MiB');
	assert.equal(bytes(1024 ** 3 - 1), '1.00 GiB');
	assert.equal(bytes(-2048), '−2.00 KiB');
	assert.equal(bytes(null), '–');
	assert.equal(bytes(undefined), '–');
	assert.equal(bytes(2 ** 63), '8.00 EiB');
});

test('counts, shares, rates and times', () => {
	assert.equal(count(99999), '99,999');
	assert.equal(count(100204551), '100 M');
	assert.equal(percent(0.1234), '12.3 %');
	assert.equal(percent(1), '100 %');
	assert.equal(percent(Number.NaN), '–');
	assert.equal(rate(2048), '+2.00 KiB/s');
	assert.equal(rate(20), '+1.17 KiB/min');
	assert.equal(rate(0.001), '+86 B/d');
	assert.equal(rate(null), '–');
	assert.equal(duration(43080e9), '11 h 58 min');
	assert.equal(duration(2e6), '2.00 ms');
	assert.equal(clock(18749e9, 43080e9), '05:12:29');
	assert.equal(clock(2.5e9, 5e9), '2.50 s');
});

test('hidden and reordering characters of names are shown', () => {
	assert.equal(visible('a\u202egnp.exe'), 'a\\u202egnp.exe');
	assert.equal(visible('tab\tnul\0'), 'tab\\u0009nul\\u0000');
	assert.equal(visible('日本 <b>'), '日本 <b>');
	assert.equal(visible(null), '');
});

test('the state survives the address', () => {
	const state = {
		range: [7800, 27912] as const,
		time: 27912,
		site: '0badcafe.2',
		thread: 3,
		addresses: [0x55d0c4a3b000, 0x55d0c4a3c000] as const,
		metric: 'peak',
		colour: 'age',
		section: 'pins',
		theme: 'dark' as const,
		lang: 'zh' as const,
	};
	assert.deepEqual(parseHash(formatHash(state)), state);
	const nothing = parseHash('');
	assert.equal(formatHash(nothing), '');
	for (const hash of [
		'#r=9-2', '#r=-5-x', '#t=1e9&s=%00&m=<b>', '#theme=red&lang=fr', '#r=1-2-3', '#a=9-2', '#a=xyz-1', '#s=../x&k=<i>',
	])
		assert.deepEqual(parseHash(hash), nothing, hash);
});

test('a site is the same in the address of another recording; equal stacks are told apart', () => {
	const frame = (name: string, line: number) => ({
		function: name, file: 'a.c', line, module: 'prog', offset: line * 16, inlined: false,
	});
	const site = (id: number, name: string, line: number) =>
		({ site: id, name, stack: [frame(name, line), frame('main', 1)] }) as never;
	const docOf = (...sites: never[]) => ({ leaks: { leaks: sites } }) as unknown as Doc;
	const one = docOf(site(7, 'f', 3), site(8, 'g', 4), site(9, 'f', 3));
	const two = docOf(site(70, 'g', 4), site(71, 'f', 3));
	assert.match(siteKey(one, 7), /^[0-9a-f]{8}$/);
	assert.equal(siteKey(one, 9), `${siteKey(one, 7)}.2`);
	assert.equal(siteByKey(two, siteKey(one, 7)), 71);
	assert.equal(siteByKey(two, siteKey(one, 8)), 70);
	assert.equal(siteByKey(one, siteKey(one, 123)), 123);
	assert.equal(nameOf(one, 123), '#123');
});

test('a range stays inside the run, and the whole run is no range', () => {
	span.value = 1000;
	assert.equal(clampRange(-5, 2000), null);
	assert.deepEqual(clampRange(300, 100), [100, 300]);
	assert.deepEqual(clampRange(-50, 100), [0, 100]);
	assert.equal(clampRange(10, 10), null);
});

test('every text exists in both languages with the same parameters', () => {
	const parameters = (s: string) => [...new Set(s.match(/\{\d\}/g) ?? [])].sort().join();
	const texts: [Record<string, string>, Record<string, string>][] = [[en, zh], [machineEn, machineZh]];
	for (const [english, chinese] of texts) {
		assert.deepEqual(Object.keys(chinese).sort(), Object.keys(english).sort());
		for (const key of Object.keys(english)) {
			assert.notEqual(chinese[key]!.trim(), '', key);
			assert.equal(parameters(chinese[key]!), parameters(english[key]!), key);
		}
	}
	/* a page adds its own texts, and replaces none */
	assert.deepEqual(Object.keys(machineEn).filter((key) => key in en), []);
});

test('lines reach a contrast of 3:1 and text of 4.5:1 in both themes', () => {
	for (const theme of ['light', 'dark'] as const) {
		for (const colour of [...lines[theme], other[theme]])
			assert.ok(contrast(colour, background[theme]) >= 3, `${theme} ${colour}`);
		for (const colour of [text[theme], muted[theme]])
			assert.ok(contrast(colour, background[theme]) >= 4.5, `${theme} ${colour}`);
	}
});

test('the colours of the map grow lighter with every step of a sixteenth', () => {
	assert.equal(cividis.length, 256);
	const light = ([r, g, b]: readonly [number, number, number]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
	for (let i = 16; i < 256; i += 16) assert.ok(light(cividis[i]!) > light(cividis[i - 16]!), String(i));
});

test('cells are painted column by column, empty ones in the colour of holes', () => {
	const out = new Uint8ClampedArray(2 * 3 * 4);
	paintCells([0, 255, 1, 255, 255, 0], 3, 2, [9, 8, 7], out);
	const pixel = (x: number, y: number) => [...out.slice((y * 2 + x) * 4, (y * 2 + x) * 4 + 3)];
	assert.deepEqual(pixel(0, 0), [9, 8, 7]);
	assert.deepEqual(pixel(0, 1), [...cividis[255]!]);
	assert.deepEqual(pixel(0, 2), [...cividis[1]!]);
	assert.deepEqual(pixel(1, 2), [9, 8, 7]);
	assert.deepEqual(shares([0, 255, 1, 255, 255, 0], 3, 0), { live: 2 / 3, sparse: 1 / 2 });
});

test('regions share the height by their rows', () => {
	const region = (first_row: number, n_rows: number) => ({ start: 0, end: 0, first_row, n_rows, kind: 'x' });
	const boxes = layoutBands(
		{ rows: 40, columns: 1, bin_bytes: 1, regions: [region(0, 30), region(30, 10)], time_ns: [1] },
		212,
	);
	assert.equal(boxes[0]!.height, 150);
	assert.equal(boxes[1]!.height, 50);
	assert.equal(boxes[1]!.top, 162);
});

test('ticks are round, inside, and not too many', () => {
	const hours = ticks(0, 43080e9, 13, timeSteps);
	assert.equal(hours.length, 12);
	assert.ok(hours.every((at) => at % 3600e9 === 0));
	for (const at of ticks(0, 1.2 * 2 ** 30, 5, byteSteps)) assert.equal(at % 2 ** 28, 0);
});

test('the flame tree sums what is below, and leaves out what has no share', () => {
	const root = buildTree(['all', 'a', 'b', 'c'], [0, 0, 1, 0], [0, 1, 2, 3], [0, 5, 7, 0]);
	assert.equal(root.value, 12);
	assert.deepEqual(root.children.map((child) => child.name), ['a']);
	assert.equal(root.children[0]!.children[0]!.value, 7);
	const frame = (name: string) => ({
		function: name, file: null, line: null, module: null, offset: null, inlined: null,
	});
	assert.equal(markStack(root, [frame('b'), frame('a'), frame('_start')]), 2);
	assert.ok(root.children[0]!.children[0]!.marked);
});

test('straight runs of calls fold into one box, forks and own shares end them', () => {
	const functions = ['all', 'a', 'b', 'c', 'd'];
	const straight = foldChains(buildTree(functions, [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 0, 0, 0, 6]));
	assert.equal(straight.name, 'all › … 3 … › d');
	assert.equal(straight.all, 'all › a › b › c › d');
	assert.equal(straight.value, 6);
	assert.equal(straight.children.length, 0);
	const forked = foldChains(buildTree(functions, [0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 4, 5]));
	assert.equal(forked.name, 'all › a');
	assert.deepEqual(forked.children.map((child) => child.name), ['c', 'b']);
	const owning = foldChains(buildTree(functions, [0, 0, 1], [0, 1, 2], [0, 1, 1]));
	assert.equal(owning.name, 'all › a');
	assert.equal(owning.children[0]!.name, 'b');
});

/* all { a 1 { b 2 { a 4 { b 8, c 16 } } }, b 32 } */
const tangled = () =>
	buildTree(['all', 'a', 'b', 'c'], [0, 0, 1, 2, 3, 3, 0], [0, 1, 2, 1, 2, 3, 2], [0, 1, 2, 4, 8, 16, 32]);
const outline = (tree: Tree): string =>
	`${tree.name} ${tree.value}${tree.children.length ? ` {${tree.children.map(outline).join(', ')}}` : ''}`;

test('recursion, direct and by way of others, collapses into the outermost call', () => {
	assert.equal(outline(tangled()), 'all 63 {b 32, a 31 {b 30 {a 28 {c 16, b 8}}}}');
	assert.equal(outline(collapseRecursion(tangled())), 'all 63 {b 32, a 31 {c 16, b 10}}');
});

test('a sandwich counts a function once, and shares add up on both of its sides', () => {
	const { callees, callers: above } = sandwich(tangled(), 'b');
	/* b below a (30, with the b inside of it) and b by itself (32) */
	assert.equal(outline(callees), 'b 62 {a 28 {c 16, b 8}}');
	assert.equal(outline(above), 'b 62 {a 30}');
	assert.equal(callees.own, 34);
	assert.equal(sandwich(tangled(), 'nowhere').callees.value, 0);
});

test('boxes below a share are one, and the whole stays the whole', () => {
	const cut = atLeast(tangled(), 16, (n) => `${n} more`);
	assert.equal(outline(cut), 'all 63 {b 32, a 31 {b 30 {a 28 {c 16, b 8}}}}');
	const wide = buildTree(['all', 'a', 'b', 'c'], [0, 0, 0, 0], [0, 1, 2, 3], [0, 9, 1, 2]);
	assert.equal(outline(atLeast(wide, 5, (n) => `${n} more`)), 'all 12 {a 9, 2 more 3}');
});

test('a range of time takes the steps that it touches, with amounts within and sizes at its end', () => {
	const steps = { times: [10, 20, 30, 40], node: [2], live: [5, 9, 7, 12], allocated: [1, 2, 4, 8], count: [1, 1, 1, 1] };
	assert.deepEqual(stepsIn(steps.times, [0, 40]), { before: -1, last: 3 });
	assert.deepEqual(stepsIn(steps.times, [10, 30]), { before: 0, last: 2 });
	assert.deepEqual(stepsIn(steps.times, [12, 13]), { before: 0, last: 1 });
	assert.deepEqual(stepsIn(steps.times, [35, 99]), { before: 2, last: 3 });
	assert.deepEqual([...ownInRange(3, steps, [10, 30], 'leaked')], [0, 0, 7]);
	assert.deepEqual([...ownInRange(3, steps, [20, 40], 'grown')], [0, 0, 3]);
	assert.deepEqual([...ownInRange(3, steps, [10, 30], 'grown')], [0, 0, 2]);
	assert.deepEqual([...ownInRange(3, steps, [10, 30], 'allocated')], [0, 0, 6]);
	assert.deepEqual([...ownInRange(3, steps, [0, 40], 'count')], [0, 0, 4]);
});

test('stacks are copied as a debugger prints them', () => {
	const frame = {
		function: 'f', file: 'a.c', line: 3, module: 'prog', offset: 0x4a10, inlined: false,
	};
	assert.equal(frameText(frame), 'f at a.c:3 (prog+0x4a10)');
	assert.equal(
		stackText([frame, { ...frame, function: null, file: null, line: null, inlined: true }]),
		'#0 f at a.c:3 (prog+0x4a10)\n#1 ?? (prog+0x4a10) [inlined]',
	);
});

test('CSV quotes, and disarms what a spreadsheet would run', () => {
	assert.equal(
		toCsv(['a', 'b'], [['x,"y"', 1], ['=HYPERLINK("u")', null], ['-f', -2]]),
		'a,b\r\n"x,""y""",1\r\n"\'=HYPERLINK(""u"")",\r\n\'-f,-2\r\n',
	);
});

test('what would come back if pages were empty adds up', () => {
	assert.deepEqual(returnable([2, 1, 0, 4]), [8192, 12288, 12288, 28672]);
	assert.deepEqual(window([0, 0, 5], [0, 0, 0, 2]), [0, 3]);
	assert.deepEqual(window([], []), [0, 0]);
});

test('a budget buys the steps that it pays for', () => {
	const budget = [
		{ moved_bytes: 10, won_bytes: 1 },
		{ moved_bytes: 30, won_bytes: 5 },
	];
	assert.deepEqual([0, 9, 10, 29, 30, 99].map((most) => affordable(budget, most)), [-1, -1, 0, 0, 1, 1]);
	assert.equal(affordable([], 5), -1);
});

test('the median of a histogram is the bin that holds it', () => {
	assert.equal(medianBin([0, 0, 0]), -1);
	assert.equal(medianBin([1, 0, 1]), 0);
	assert.equal(medianBin([1, 0, 2]), 2);
});

test('an older recording is matched by the number of allocations', () => {
	const a = { allocations: Float64Array.of(10, 20, 30), live: Float64Array.of(1, 2, 3) };
	assert.deepEqual(byEvents([5, 10, 25, 30, 31], a), [1, 1, 2, 3, null]);
	assert.deepEqual(byEvents([5], { allocations: new Float64Array(0), live: new Float64Array(0) }), [null]);
});

test('a finding is as old as the half of what it ends at', () => {
	const times = Float64Array.of(1, 2, 3, 4, 5);
	assert.equal(sinceHalf(times, Float64Array.of(0, 9, 2, 6, 10)), 4);
	assert.equal(sinceHalf(times, Float64Array.of(10, 10, 10, 10, 10)), 1);
	assert.equal(sinceHalf(times, Float64Array.of(5, 5, 5, 5, 0)), null);
	assert.equal(sinceHalf(new Float64Array(0), new Float64Array(0)), null);
});

test('squares of pages: as large as fits, one region after the other', () => {
	const region = (first_cell: number, n_cells: number) => ({ start: 0, first_cell, n_cells });
	const layout = placeRegions([region(0, 100), region(100, 50)], 160, 200);
	assert.equal(layout.across, Math.floor(160 / layout.size));
	assert.ok(layout.height <= 200);
	assert.ok(layout.places[1]!.top >= layout.places[0]!.top + layout.places[0]!.rows * layout.size);
	/* what does not fit is drawn small, and whole */
	const much = placeRegions([region(0, 100000)], 160, 200);
	assert.equal(much.size, 2);
	assert.equal(much.places[0]!.rows, 1250);
	assert.deepEqual([0, 1, 25, 26, 254, 255].map(binOf), [0, 1, 1, 2, 10, 10]);
	assert.equal(nearest([{ time_ns: 10 }, { time_ns: 20 }], 16), 1);
});

test('a tree of stacks adds up, and its callers are the same bytes from the inside', () => {
	const frame = (name: string) => ({
		function: name, file: null, line: null, module: null, offset: null, inlined: null,
	});
	const stack = (...names: string[]) => names.map(frame);
	const tree = treeOfStacks([
		{ stack: stack('alloc', 'a', 'main'), value: 5, change: 2 },
		{ stack: stack('alloc', 'b', 'main'), value: 7, change: -7 },
		{ stack: stack('b', 'main'), value: 1, change: 1 },
	]);
	assert.equal(tree.value, 13);
	assert.equal(tree.change, -4);
	assert.deepEqual(tree.children[0]!.children.map((child) => [child.name, child.value, child.own]), [['b', 8, 1], ['a', 5, 0]]);
	const inside = callers(tree);
	assert.equal(inside.value, 13);
	assert.deepEqual(inside.children.map((child) => [child.name, child.value]), [['alloc', 12], ['b', 1]]);
	assert.deepEqual(inside.children[0]!.children.map((child) => [child.name, child.value]), [['b', 7], ['a', 5]]);
});

/* Squares with given shares, at given addresses. */
function squares(cell: number, regions: [number, number[]][]): Squares {
	let first = 0;
	const live = regions.flatMap(([, shares]) => shares);
	return {
		cell_bytes: cell,
		n_cells: live.length,
		regions: regions.map(([start, shares]) => {
			const region = { start, first_cell: first, n_cells: shares.length };
			first += shares.length;
			return region;
		}),
		live: Uint8Array.from(live),
		site: Uint8Array.from(live, (value) => (value > 100 ? 1 : value > 0 ? 2 : 0)),
		age: Uint8Array.from(live, () => 30),
		thread: Uint8Array.from(live, () => 1),
	};
}

test('two moments stand on common squares, whatever regions and sizes they had', () => {
	const a = squares(4096, [[0x10000, [255, 255, 0, 51]]]);
	const b = squares(8192, [[0x10000, [0, 255, 102]], [0x40000, [255]]]);
	const common = commonRegions(a, b);
	assert.equal(common.cell_bytes, 8192);
	assert.deepEqual(common.regions.map((r) => [r.start, r.n_cells]), [[0x10000, 3], [0x40000, 1]]);
	const [then, now] = [onto(a, common), onto(b, common)];
	assert.deepEqual([...then.live], [255, 26, 0, 0]);
	assert.deepEqual([...then.site], [1, 2, 0, 0]);
	assert.deepEqual([...now.live], [0, 255, 102, 255]);
	assert.deepEqual(difference(then, now), {
		more: ((229 + 102 + 255) / 255) * 8192, less: 8192, filled: 2, emptied: 1,
	});
	assert.deepEqual([...onto(a, commonRegions(a, a)).live], [...a.live]);
});

test('a range of addresses lists its squares and whose they are, across regions', () => {
	const one = squares(4096, [[0x10000, [255, 0, 20, 255]], [0x40000, [255, 51]]]);
	const { live, ...rest } = listRange(one, [0x11000, 0x41000]);
	assert.equal(Math.round(live), Math.round(((20 + 255 + 255) / 255) * 4096));
	assert.deepEqual(rest, {
		squares: 4, empty: 1, sparse: 1,
		sites: [{ rank: 1, squares: 2, live: 8192 }, { rank: 2, squares: 1, live: (20 / 255) * 4096 }],
	});
	assert.equal(listRange(one, [0x20000, 0x30000]).squares, 0);
});

test('a pointer that leaves the squares while it drags stays with the nearest one', () => {
	const layout = placeRegions(squares(4096, [[0x10000, new Array(25).fill(255)]]).regions, 160, 100);
	assert.equal(layout.across, 10);
	const { top } = layout.places[0]!;
	assert.equal(cellUnder(layout, 35, top + 20), 12);
	assert.equal(cellUnder(layout, 200, top + 20), null);
	assert.equal(cellUnder(layout, 200, top + 20, true), 19);
	assert.equal(cellUnder(layout, 155, top + 40), null, 'the last row is short');
	assert.equal(cellUnder(layout, 155, top + 900, true), 24);
	assert.equal(cellUnder(layout, -5, 0, true), 0);
});

test('a suppression names the function, on one line', () => {
	assert.equal(suppression({ name: 'cache_put\nleak:*' } as never), '# cache_put leak:*\nleak:cache_put?leak:*\n');
});
