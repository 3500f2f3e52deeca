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
import { frameText, stackText } from '../../reports/web/src/doc';
import { bytes, clock, count, duration, percent, rate, visible } from '../../reports/web/src/format';
import { toCsv } from '../../reports/web/src/parts/Section';
import { byteSteps, ticks, timeSteps } from '../../reports/web/src/parts/ticks';
import { buildTree, foldChains, markStack } from '../../reports/web/src/sections/Flame';
import { layoutBands, paintCells, shares } from '../../reports/web/src/sections/HeapMap';
import { prepare, resample } from '../../reports/web/src/sections/Timeline';
import { clampRange, formatHash, parseHash, span } from '../../reports/web/src/store';
import { en, zh } from '../../reports/web/src/strings';

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
		site: 42,
		thread: 3,
		metric: 'peak',
		theme: 'dark' as const,
		lang: 'zh' as const,
	};
	assert.deepEqual(parseHash(formatHash(state)), state);
	const nothing = parseHash('');
	assert.equal(formatHash(nothing), '');
	for (const hash of ['#r=9-2', '#r=-5-x', '#t=1e9&s=%00&m=<b>', '#theme=red&lang=fr', '#r=1-2-3'])
		assert.deepEqual(parseHash(hash), nothing, hash);
});

test('a range stays inside the run, and the whole run is no range', () => {
	span.value = 1000;
	assert.equal(clampRange(-5, 2000), null);
	assert.deepEqual(clampRange(300, 100), [100, 300]);
	assert.deepEqual(clampRange(-50, 100), [0, 100]);
	assert.equal(clampRange(10, 10), null);
});

test('every text exists in both languages with the same parameters', () => {
	assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
	const parameters = (s: string) => [...new Set(s.match(/\{\d\}/g) ?? [])].sort().join();
	for (const key of Object.keys(en) as (keyof typeof en)[]) {
		assert.notEqual(zh[key].trim(), '', key);
		assert.equal(parameters(zh[key]), parameters(en[key]), key);
	}
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
