// SPDX-License-Identifier: MIT
/* Sections one by one, on documents whose answers are known: pixels, numbers, and what is linked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodePng, file, open, pixels, settle } from './page.mjs';

const model = (page, name) => page.evaluate((n) => window.__report.model(n), name);
const inside = async (page, selector) => {
	await page.locator(selector).scrollIntoViewIfNeeded();
	await settle(page);
};
/* the background of a cell that holds nothing is nearly white, as is nothing of the colour scale */
const HOLE = 'r > 225 && g > 225 && b > 225';

test('the first screen: a verdict, where, since when, and what would help, above the fold', async () => {
	const page = await open(file('soak'));
	const { where, line, since, help } = await model(page, 'verdict');
	assert.equal(where, 'cache_put');
	assert.equal(line, 'cache.c:212');
	assert.equal(since, 41e9);
	assert.match(help, /Free these blocks/);
	const box = await page.locator('.answers').boundingBox();
	assert.ok(box.y + box.height < 500, `the answers end at ${box.y + box.height}`);
	const cards = await page.locator('.cards').boundingBox();
	assert.ok(cards.y + cards.height < 900, 'the numbers are above the fold');
	/* from the verdict to the line: one click selects the site and goes to its row */
	await page.locator('.answers .site-link').click();
	assert.equal(await page.locator('#leaks tbody.chosen').getAttribute('data-site'), '1');
	assert.match(await page.locator('#leaks tbody.chosen .site-place').innerText(), /cache\.c:212/);
	/* the pinned finding names who pins, and since when */
	assert.match(await page.locator('.findings li').nth(1).innerText(), /cache_put cache\.c:212 · Since 05:/);
	await page.finish();
});

test('page by page: a quarter of the squares are empty, a site chosen leaves half of the rest', async () => {
	const page = await open(file('quarter'));
	await inside(page, '#pagemap-canvas');
	const { cells, size, across, places, moments } = await model(page, 'pagemap');
	assert.equal(cells, 1024);
	assert.equal(moments, 1);
	const rows = Math.floor(1024 / across); // whole rows only
	const box = [0, places[0].top, across * size, rows * size];
	const share = async (test) => {
		/* squares have a seam of a pixel: count inside of them */
		const inner = ((size - 1) / size) ** 2;
		return (await pixels(page, '#pagemap-canvas', box, test)) / inner;
	};
	const yellow = 'r > 240 && g > 215 && b < 90';
	assert.ok(Math.abs((await share(yellow)) - 0.75) < 0.03, `${await share(yellow)} of the squares are full`);
	await page.locator('#leaks tbody[data-site="1"] .site-name').click();
	await settle(page);
	assert.ok(Math.abs((await share(yellow)) - 0.5) < 0.03, `${await share(yellow)} are of the site`);
	await page.finish();
});

test('block by block: a page shows its blocks where they lie, and a page without them says so', async () => {
	const page = await open(file('quarter'));
	await inside(page, '#pagemap-canvas');
	const { size, places } = await model(page, 'pagemap');
	const canvas = page.locator('#pagemap-canvas');
	await canvas.click({ position: { x: size * 1.5, y: places[0].top + size / 2 } });
	await page.waitForFunction(() => window.__report.model('pagemap').blocks === 2);
	const at = await page.locator('.blocks .strip rect:not(.strip-free)').evaluateAll((all) =>
		all.map((rect) => [rect.getAttribute('x'), rect.getAttribute('width')]),
	);
	assert.deepEqual(at, [['0%', '25%'], ['50%', '12.5%']]);
	const rows = await page.locator('.blocks tbody tr').allInnerTexts();
	assert.match(rows[0], /0x55d0c4a3c000\s+1\.00 KiB\s+32\.00 s\s+1\s+cache_put/);
	await page.waitForFunction(() => location.hash.includes('a=55d0c4a3c000-55d0c4a3d000'));
	assert.match(await page.locator('.chips').innerText(), /0x55d0c4a3c000 \+4 KiB/);
	await canvas.click({ position: { x: size * 2.5, y: places[0].top + size / 2 } });
	await page.waitForFunction(() => window.__report.model('pagemap').blocks === 0);
	assert.match(await page.locator('.blocks .empty').innerText(), /not in the file.*70,000 others/);
	await canvas.click({ position: { x: size * 4.5, y: places[0].top + size / 2 } });
	await page.locator('.blocks .empty', { hasText: 'Nothing is live' }).waitFor();
	await page.finish();
});

test('a run of pages, dragged or chosen with keys, lists its pages and whose they are', async () => {
	const page = await open(file('quarter'));
	await inside(page, '#pagemap-canvas');
	const { size, places } = await model(page, 'pagemap');
	const box = await page.locator('#pagemap-canvas').boundingBox();
	const at = (i) => [box.x + size * (i + 0.5), box.y + places[0].top + size / 2];
	await page.mouse.move(...at(0));
	await page.mouse.down();
	await page.mouse.move(...at(4));
	await page.mouse.move(...at(7));
	await page.mouse.up();
	await page.waitForFunction(() => window.__report.model('pagemap').picked === 8);
	/* every fourth is empty; odd ones are of site 1, even ones of site 2 */
	const { list, blocks } = await model(page, 'pagemap');
	assert.deepEqual(list, {
		squares: 8, empty: 2, sparse: 0, live: 6 * 4096,
		sites: [{ rank: 1, squares: 4, live: 4 * 4096 }, { rank: 2, squares: 2, live: 2 * 4096 }],
	});
	assert.equal(blocks, 2);
	assert.match(await page.locator('.blocks').innerText(), /8 squares of 4 KiB: 2 empty, 0 less than a tenth full, 24\.0 KiB live/);
	await page.locator('.range-sites .site-name').first().click();
	await page.waitForFunction(() => /&s=/.test(location.hash));
	await page.locator('#pagemap-canvas').focus();
	for (let i = 0; i < 3; i++) await page.keyboard.press('Shift+ArrowRight');
	await page.keyboard.press('Enter');
	await page.waitForFunction(() => window.__report.model('pagemap').picked === 4);
	await page.finish();
});

test('a rectangle of the heap map is a range of time and of addresses', async () => {
	const page = await open(file('quarter'));
	await inside(page, 'canvas.map');
	const box = await page.locator('canvas.map').boundingBox();
	const { plot } = await model(page, 'map');
	const x = (share) => box.x + plot.left + (box.width - plot.left - plot.right) * share;
	const y = (share) => box.y + (plot.height - plot.bottom) * share;
	await page.mouse.move(x(0.25), y(0.25));
	await page.mouse.down();
	await page.mouse.move(x(0.5), y(0.5));
	await page.mouse.move(x(0.75), y(0.75));
	await page.mouse.up();
	await page.waitForFunction(() => /r=\d+-\d+/.test(location.hash) && /a=[0-9a-f]+-[0-9a-f]+/.test(location.hash));
	const hash = new URLSearchParams((await page.evaluate(() => location.hash)).slice(1));
	const span = await page.evaluate(() => window.__report.model('timeline').span);
	const [a, b] = hash.get('r').split('-').map(Number);
	assert.ok(Math.abs(a / span - 0.25) < 0.01 && Math.abs(b / span - 0.75) < 0.01, hash.get('r'));
	const [low, high] = hash.get('a').split('-').map((text) => parseInt(text, 16));
	const { start, end } = (await model(page, 'map')).regions[0];
	const rows = (address) => (address - start) / (end - start);
	assert.ok(Math.abs(rows(low) - 0.25) < 0.02 && Math.abs(rows(high) - 0.75) < 0.02, hash.get('a'));
	await page.finish();
});

test('two moments side by side: what was filled is orange, and said in numbers', async () => {
	const page = await open(file('soak'));
	await inside(page, '#pagemap-canvas');
	await page.locator('.pagemap-with').selectOption('0');
	await page.waitForFunction(() => window.__report.model('pagemap').change);
	await settle(page);
	const { change, width, places, size, across } = await model(page, 'pagemap');
	assert.equal(await page.locator('.pagemap canvas').count(), 2);
	const [left, right] = await page.locator('.pagemap canvas').evaluateAll((all) => all.map((c) => c.getBoundingClientRect().x));
	assert.ok(right >= left + width);
	/* at the first moment only a third held anything, and that third holds still */
	assert.ok(change.filled > 1000 && change.emptied === 0, JSON.stringify(change));
	assert.match(await page.locator('.pagemap-change').innerText(), new RegExp(`${change.filled.toLocaleString('en-GB')} squares were filled, 0 emptied`));
	/* the second region: squares without anything, and orange */
	const second = [0, places[1].top, across * size, (places[1].n / across - 1) * size];
	const orange = await pixels(page, '#pagemap-canvas', second, 'r > g + 12 && g > b');
	const empty = await pixels(page, '#pagemap-canvas', second, HOLE);
	assert.ok(orange > 0.25 && empty > 0.1, `${orange} orange, ${empty} empty`);
	assert.ok((await pixels(page, '#pagemap-before', second, `!(${HOLE})`)) < 0.01);
	assert.ok((await pixels(page, '#pagemap-canvas', second, 'b > r + 20')) < 0.01, 'nothing is less');
	await page.locator('.pagemap button', { hasText: 'Colour by change' }).click();
	await settle(page);
	assert.ok((await pixels(page, '#pagemap-canvas', second, 'b > r + 20')) > 0.3, 'the colours of occupancy');
	await page.finish();
});

test('moments: the slider, the arrow keys of the page, and the colours', async () => {
	const page = await open(file('soak'));
	await inside(page, '#pagemap-canvas');
	assert.equal((await model(page, 'pagemap')).moment, 2);
	await page.locator('.pagemap input[type="range"]').focus();
	await page.keyboard.press('ArrowLeft');
	await page.waitForFunction(() => window.__report.model('pagemap').moment === 1);
	assert.match(await page.locator('.pagemap .stepper').innerText(), /before the clean-up/);
	for (const [label, name] of [['Site', 'site'], ['Age', 'age'], ['Thread', 'thread'], ['Occupancy', 'occupancy']]) {
		await page.locator('.pagemap .switch button', { hasText: label }).click();
		await page.waitForFunction((colour) => window.__report.model('pagemap').colour === colour, name);
		await settle(page);
		const drawn = await pixels(page, '#pagemap-canvas', [0, 14, 400, 60], `!(${HOLE})`);
		assert.ok(drawn > 0.3, `${name}: ${drawn} drawn`);
	}
	await page.locator('#pagemap-canvas').focus();
	await page.keyboard.press('ArrowRight');
	await page.keyboard.press('Enter');
	await page.waitForFunction(() => window.__report.model('pagemap').picked === 1);
	await page.finish();
});

test('pages: what would come back, and a bar chooses the pages of the map', async () => {
	const page = await open(file('soak'));
	const { pages, returnable } = await model(page, 'pages');
	const all = pages.reduce((a, b) => a + b, 0);
	assert.equal(returnable.at(-1), all * 4096);
	assert.equal(returnable[1], (pages[0] + pages[1]) * 4096);
	const bar = page.locator('#pages g[role="button"]').nth(1);
	await bar.click();
	assert.equal(await bar.getAttribute('aria-pressed'), 'true');
	assert.match(await page.locator('.pagemap').innerText(), /Only pages that are this full stand out: 0–10 %/);
	await page.finish();
});

test('pages by steps of 5 % and by residency, at the moment that the section describes', async () => {
	const page = await open(file('quarter'));
	const { bins, pages, returnable } = await model(page, 'pages');
	assert.equal(bins.length, 21);
	for (let d = 1; d < 11; d++) {
		const both = [bins[2 * d - 1], bins[2 * d]].flat().reduce((a, b) => a + b, 0);
		assert.ok(Math.abs(both - pages[d]) <= 2, `decile ${d}: ${both} of ${pages[d]}`);
	}
	/* what is not resident would not come back */
	assert.equal(returnable.at(-1), bins.reduce((sum, [resident]) => sum + resident, 0) * 4096);
	assert.equal(await page.locator('#pages .bars .bar-more').count(), bins.filter(([, absent]) => absent > 0).length);
	assert.match(await page.locator('#pages .answer').innerText(), /pages with live bytes are not resident/);
	await page.locator('#pages g[role="button"]').nth(3).click();
	assert.deepEqual(
		await page.locator('#pages g[role="button"]').evaluateAll((all) => all.flatMap((g, i) => (g.getAttribute('aria-pressed') === 'true' ? [i] : []))),
		[3, 4],
	);
	await page.finish();
});

test('pools, mappings of the program, and the address space', async () => {
	const page = await open(file('soak'));
	const { pools, calls, maps, held } = await model(page, 'memory');
	assert.deepEqual([pools, calls, maps, held], [12, 3, 14, 12 * 16 * 2 ** 20]);
	const text = await page.locator('#memory').innerText();
	assert.match(text, /124 MiB in mappings, 56\.0 MiB of it resident; the program itself mapped 129 MiB/);
	assert.match(text, /192 MiB in 12,000 objects/);
	assert.match(text, /cache_shrink\s+madvise DONTNEED/);
	assert.match(text, /And 7 further ones with 1\.00 MiB/);
	const tables = page.locator('#memory table.plain');
	assert.equal(await tables.nth(0).locator('tbody').count(), 10);
	await page.locator('#memory button', { hasText: 'All 12' }).click();
	assert.equal(await tables.nth(0).locator('tbody').count(), 12);
	await tables.nth(1).locator('.expand').first().click();
	assert.match(await tables.nth(1).locator('.detail').innerText(), /cache_put\s+src\/cache\.c:212/);
	await page.finish();
});

test('the timeline: threads on its axis, PSS, and finer steps for a short range', async () => {
	const page = await open(file('soak'));
	const whole = await model(page, 'timeline');
	assert.ok(whole.threads > 4 && !whole.fine);
	assert.ok(whole.lines.includes('Proportional (PSS)'));
	assert.match(await page.locator('#timeline .keys').innerText(), /▲ threads begin \(\d+\), ▽ threads end \(\d+\)/);
	const half = whole.span / 2;
	await page.evaluate(([a, b]) => (location.hash = `#v=1&r=${Math.round(a)}-${Math.round(b)}`), [half * 0.99, half * 1.01]);
	await page.waitForFunction(() => window.__report.model('timeline').fine);
	await settle(page);
	const close = await model(page, 'timeline');
	assert.ok(close.points > 16384);
	await page.locator('#timeline .u-over').dblclick();
	await page.waitForFunction(() => !window.__report.model('timeline').fine);
	await page.finish();
});

test('holes against requests: bytes of the moment, and the line over the bars', async () => {
	const page = await open(file('soak'));
	const { first, last, usefulness } = await model(page, 'holes');
	assert.equal(usefulness, 61.5);
	assert.ok(first <= 5 && last >= 16, `${first} to ${last}`);
	assert.match(await page.locator('#holes .answer').innerText(), /62 % of it is in pieces/);
	const line = await page.locator('#holes .bar-line polyline').last().getAttribute('points');
	const y = line.split(' ').map((point) => Number(point.split(',')[1]));
	/* most is requested at 64 bytes: the line's highest point */
	assert.equal(y.indexOf(Math.min(...y)), 6 - first);
	await page.finish();
});

test('free lists: above 256 KiB nothing is left in the second half', async () => {
	const page = await open(file('quarter'));
	await inside(page, '#orders-free');
	const { free, moments } = await model(page, 'orders');
	assert.equal(moments, 8);
	assert.deepEqual(free, [1024, 512, 256, 128, 64, 32, 16, 0, 0, 0, 0]);
	assert.match(await page.locator('#orders .answer').innerText(), /largest free block is 256 KiB/);
	const width = await page.locator('#orders-free').evaluate((c) => c.clientWidth);
	const plot = width - 62 - 10;
	const height = 214 - 24;
	const top = (height / 11) * 4;
	const holes = (x, y, w, h) => pixels(page, '#orders-free', [x, y, w, h], HOLE);
	assert.ok((await holes(64 + plot / 2, 2, plot / 2 - 6, top - 4)) > 0.99);
	assert.ok((await holes(64, 2, plot / 2 - 6, top - 4)) < 0.01);
	assert.ok((await holes(64, top + 2, plot - 6, height - top - 4)) < 0.01);
	await page.finish();
});

test('the indices follow the chosen size of block', async () => {
	const page = await open(file('soak'));
	const before = await model(page, 'frag');
	assert.equal(before.order, 4);
	await page.locator('#frag select').selectOption('9');
	await page.waitForFunction(() => window.__report.model('frag').order === 9);
	assert.ok((await model(page, 'frag')).uf > before.uf);
	await page.locator('#frag .metrics .def summary').first().click();
	assert.match(await page.locator('#frag .metrics .def[open] > div').innerText(), /Resident bytes of the heap/);
	await page.finish();
});

test('pins: shares, the page that they keep, and the way to the map', async () => {
	const page = await open(file('soak'));
	assert.match(await page.locator('#pins .answer').innerText(), /cache_put keeps 230 MiB/);
	await page.locator('#pins .expand').first().click();
	assert.match(await page.locator('#pins .stack').innerText(), /src\/cache\.c:212/);
	await page.locator('#pins .stepper button').last().click();
	assert.match(await page.locator('#pins .stepper').innerText(), /2 of 2/);
	assert.equal(await page.locator('#pins .strip rect:not(.strip-free)').count(), 2);
	await page.locator('#pins .sub-head button', { hasText: 'Show on the map' }).click();
	await page.waitForFunction(() => window.__report.model('pagemap').picked === 1);
	assert.match(await page.locator('#pins').innerText(), /301 MiB\s+cache_put, log_open: 80,000 pages/);
	await page.finish();
});

test('compaction: half of the strip is free afterwards, and a budget buys what it pays for', async () => {
	const page = await open(file('quarter'));
	await inside(page, '#compact-curve');
	const strips = page.locator('#compact .strips canvas');
	const share = async (i) => {
		const png = decodePng(await strips.nth(i).screenshot());
		let holes = 0;
		for (let at = 0; at < png.data.length; at += png.channels)
			if (png.data[at] > 225 && png.data[at + 1] > 225 && png.data[at + 2] > 225) holes++;
		return holes / (png.data.length / png.channels);
	};
	assert.ok(Math.abs((await share(1)) - 0.5) < 0.05, `${await share(1)} of it are free after`);
	assert.deepEqual(await model(page, 'compact'), { won: 6 << 20, moved: 4 << 20, budget: 4 << 20, wonFor: 6 << 20 });
	await page.locator('#compact input[type="range"]').fill(String(2 << 20));
	await page.waitForFunction(() => window.__report.model('compact').wonFor === 2 << 20);
	await page.locator('#compact input[type="range"]').fill('0');
	await page.waitForFunction(() => window.__report.model('compact').wonFor === 0);
	await page.finish();
});

test('lifetimes: the median, the two cells, and the sites of a cell', async () => {
	const page = await open(file('soak'));
	await inside(page, '#lifetimes-map');
	const { freed, median, brief } = await model(page, 'lifetimes');
	assert.deepEqual([freed, median, brief], [1010, 10, 1000]);
	assert.match(await page.locator('#lifetimes .answer').innerText(), /less than 2 µs .*99 % lived less than a millisecond/);
	const { width, height } = await page.locator('#lifetimes-map').evaluate((c) => ({ width: c.clientWidth, height: c.clientHeight }));
	/* 21 bins of time and 7 of size, two of the cells filled */
	const drawn = 1 - (await pixels(page, '#lifetimes-map', [62, 0, width - 72, height - 24], HOLE));
	assert.ok(Math.abs(drawn - 2 / (21 * 7)) < 0.004, `${drawn} drawn`);
	await page.locator('#lifetimes-map').click({ position: { x: 64, y: height - 30 } });
	await page.waitForFunction(() => window.__report.model('lifetimes').picked?.[0] === 10);
	const names = await page.locator('#lifetimes tbody .site-name').allInnerTexts();
	assert.deepEqual(names.slice(0, 1), ['json_node_new']);
	await page.finish();
});

test('the timeline names the phases that were marked', async () => {
	const page = await open(file('soak'));
	assert.deepEqual((await model(page, 'timeline')).marks.slice(0, 2), ['warm', 'load begins']);
	await page.finish();
});

test('bad frees: three calls of each, by search too', async () => {
	const page = await open(file('soak'));
	assert.match(await page.locator('#errors .answer').innerText(), /6 bad frees from 3 places: double free 1, free inside a block 2, free of an unknown address 3/);
	const text = await page.locator('#errors .calls').innerText();
	for (const part of ['The bad call', 'Allocated', 'Freed before', 'src/cache.c:212', 'src/tls.c:305'])
		assert.ok(text.includes(part), part);
	await page.locator('#errors .bad-head').nth(1).click();
	await page.locator('#errors .calls', { hasText: '16 bytes inside the block' }).waitFor();
	await page.locator('#errors .bad-head').nth(2).click();
	await page.locator('#errors .calls', { hasText: 'a mapped file · /usr/share/dict/words' }).waitFor();
	await page.finish();
	const none = await open(file('sampled'));
	assert.match(await none.locator('#errors').innerText(), /not all frees were looked at/);
	await none.finish();
});

test('two recordings: differences as they are and by time, and as a flame graph', async () => {
	const page = await open(file('diff'));
	const first = await model(page, 'diff');
	assert.deepEqual([first.rows, first.change, first.first, first.firstChange], [4, 146 << 20, 'cache_put', 93 << 20]);
	assert.match(await page.locator('#diff .answer').innerText(), /\+146 MiB \(201 MiB to 347 MiB\); 1 sites are new, 1 are gone, 2 changed/);
	await page.locator('#diff .switch button', { hasText: 'By time' }).click();
	await page.waitForFunction(() => window.__report.model('diff').first === 'tls_ticket_new'); // -120 MiB
	assert.equal((await model(page, 'diff')).firstChange, -(120 << 20));
	await page.locator('#diff .switch button', { hasText: 'By events' }).click();
	assert.match(await page.locator('#diff').innerText(), /by the number of allocations/);
	await page.locator('#diff .sub-head .switch button', { hasText: 'gone' }).click();
	await page.waitForFunction(() => window.__report.model('diff').rows === 1);
	await page.locator('#diff .tools button', { hasText: 'flame graph' }).click();
	await page.waitForFunction(() => window.__report.model('flame').metric === 'diff');
	await settle(page);
	assert.equal((await model(page, 'flame')).total, (143 + 22 + 60 + 182) << 20);
	await page.finish();
});

test('the flame graph: pinned bytes by site, and callers from the inside', async () => {
	const page = await open(file('soak'));
	await page.locator('#flame .switch button', { hasText: 'Pinned' }).click();
	await page.waitForFunction(() => window.__report.model('flame').metric === 'pinned');
	await page.locator('#flame .tools button', { hasText: 'Callers' }).click();
	await page.waitForFunction(() => window.__report.model('flame').inside);
	await settle(page);
	/* what pins most is the widest box right below the whole */
	assert.match(await page.locator('#flame .answer').innerText(), /cache_put|session_store|handle_request|worker_loop|start_thread/);
	const total = (await model(page, 'flame')).total;
	const sum = [0, 1, 2, 3, 4].reduce((all, i) => all + Math.floor((230 * (1 << 20)) / (i * i + 1)), 0);
	assert.equal(total, sum);
	await page.finish();
});

test('the flame graph: callers and callees of one function, a least share, a range of time', async () => {
	const page = await open(file('soak'));
	const tools = page.locator('#flame .tools');
	const total = (await model(page, 'flame')).total;
	/* the function is chosen by zooming into it */
	await page.locator('#flame g.frame[name="handle_request"]').click();
	await page.locator('#flame button', { hasText: 'Callers and callees of handle_request' }).click();
	await page.waitForFunction(() => window.__report.model('flame').focus);
	await settle(page);
	const { focus } = await model(page, 'flame');
	assert.equal(focus.name, 'handle_request');
	assert.equal(focus.callers, 1, 'worker_loop alone calls it');
	assert.ok(focus.callees >= 4 && focus.value < total);
	const boxes = page.locator('#flame .flame');
	assert.equal(await boxes.count(), 2);
	assert.deepEqual(await boxes.nth(0).locator('g.frame').evaluateAll((all) => all.map((g) => g.getAttribute('name')).slice(0, 2)), [
		'handle_request', 'worker_loop',
	]);
	/* of the callers, the function is the lowest box */
	const [own, caller] = await boxes.nth(0).locator('g.frame rect').evaluateAll((all) => all.map((r) => r.getBoundingClientRect().y));
	assert.ok(own > caller);
	await page.locator('#flame button', { hasText: 'All calls' }).click();
	assert.equal(await boxes.count(), 1);

	const all = (await model(page, 'flame')).boxes;
	await tools.locator('select').selectOption('0.05');
	await page.waitForFunction((n) => window.__report.model('flame').boxes < n, all);
	assert.equal((await model(page, 'flame')).total, total);
	await tools.locator('select').selectOption('0');

	/* half of the run: two steps of four, half of what was allocated */
	await tools.locator('button', { hasText: 'Allocated bytes' }).click();
	await page.waitForFunction(() => window.__report.model('flame').metric === 'allocated');
	await settle(page);
	const allocated = (await model(page, 'flame')).total;
	await page.evaluate(() => (location.hash = `${location.hash}&r=0-21540000000000`));
	await page.waitForFunction(() => window.__report.model('flame').range);
	await settle(page);
	assert.ok(Math.abs((await model(page, 'flame')).total / allocated - 0.5) < 0.01);
	assert.match(await page.locator('#flame [role="status"]').first().innerText(), /From 00:00:00 to 05:59:00/);
	await tools.locator('button', { hasText: 'Chosen range' }).click();
	await page.waitForFunction((whole) => window.__report.model('flame').total === whole, allocated);
	await page.finish();
});

test('single keys walk through the leaks, and can be switched off', async () => {
	const page = await open(file('soak'), { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
	await page.keyboard.press('j');
	await page.locator('#leaks tbody.chosen[data-site="1"]').waitFor();
	await page.keyboard.press('j');
	await page.locator('#leaks tbody.chosen[data-site="2"]').waitFor();
	await page.keyboard.press('k');
	await page.locator('#leaks tbody.chosen[data-site="1"]').waitFor();
	await page.keyboard.press('Enter');
	await page.locator('#leaks tbody.chosen .stack').waitFor();
	await page.keyboard.press('c');
	await page.locator('.toast', { hasText: 'Copied' }).waitFor();
	assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^#0 cache_put at src\/cache\.c:212/);
	await page.keyboard.press('+');
	await page.waitForFunction(() => /r=\d+-\d+/.test(location.hash));
	await page.keyboard.press('0');
	await page.waitForFunction(() => !/r=/.test(location.hash));
	await page.keyboard.press('g');
	await page.keyboard.press('3');
	await page.waitForFunction(() => location.hash.includes('k=flame'));
	await page.keyboard.press('?');
	await page.locator('.help [role="switch"]').click();
	await page.keyboard.press('Escape');
	const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
	const before = await theme();
	await page.keyboard.press('t');
	assert.equal(await theme(), before);
	await page.finish();
});

test('a link to a site holds for another recording of the same program', async () => {
	const page = await open(file('soak'));
	await page.locator('#leaks tbody[data-site="2"] .site-name').click();
	await page.waitForFunction(() => /[#&]s=[0-9a-f]{8}/.test(location.hash));
	const hash = await page.evaluate(() => location.hash);
	await page.finish();
	const other = await open(file('lost'), { hash });
	assert.match(await other.locator('.chips').innerText(), /log_open/);
	await other.finish();
});

test('a section is copied as a table and as a picture', async () => {
	const page = await open(file('soak'), { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
	await page.locator('#compact .copies button', { hasText: 'CSV' }).click();
	await page.locator('.toast', { hasText: 'Copied' }).waitFor();
	assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'Moved,Won\r\n1048576,2097152\r\n4194304,6291456\r\n');
	for (const id of ['pages', 'orders', 'flame', 'timeline']) {
		await inside(page, `#${id}`);
		await page.locator(`#${id} .copies button`, { hasText: 'PNG' }).click();
		await page.locator('.toast', { hasText: /picture|Saved as/ }).waitFor();
		const size = await page.evaluate(async () => {
			const [item] = await navigator.clipboard.read();
			const image = await createImageBitmap(await item.getType('image/png'));
			const canvas = new OffscreenCanvas(image.width, image.height);
			const c = canvas.getContext('2d');
			c.drawImage(image, 0, 0);
			const { data } = c.getImageData(0, 0, image.width, image.height);
			const colours = new Set();
			for (let i = 0; i < data.length; i += 4) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
			return { width: image.width, colours: colours.size };
		});
		assert.ok(size.width > 800 && size.colours > 20, `${id}: ${JSON.stringify(size)}`);
		await page.locator('.toast:empty').waitFor({ state: 'attached' });
	}
	await page.finish();
});

test('machine: what is free, in what pieces, and what would help', async () => {
	const page = await open(file('machine'));
	assert.match(await page.locator('#verdict-h').innerText(), /Compact the memory/);
	assert.match(await page.locator('h1.program').innerText(), /Linux 6\.18\.0/);
	/* the zone that the machine is mostly made of; the empty one is not offered */
	assert.equal((await model(page, 'zones')).zone, 'Normal');
	assert.equal((await model(page, 'zones')).unusable, 63 / 64);
	assert.equal((await model(page, 'zones')).max, (63 * 16) << 10);
	assert.deepEqual(await page.locator('#zones .switch button').allInnerTexts(), ['0 DMA', '0 Normal']);
	await page.locator('#zones .switch button').first().click();
	await settle(page);
	assert.equal((await model(page, 'zones')).unusable, 0);
	await page.locator('#zones .switch button').last().click();
	await settle(page);
	/* single pages in the lowest row, blocks of 4 MiB in the highest, none of the sizes between */
	await inside(page, '#zones-free');
	const { width } = await page.locator('#zones-free').boundingBox();
	const row = (top, height) => pixels(page, '#zones-free', [66 + width * 0.3, top, width * 0.5, height], HOLE);
	assert.equal(await row(2, 12), 0);
	assert.ok((await row(20, 148)) > 0.98);
	assert.equal(await row(176, 12), 0);
	assert.match(await page.locator('#advice').innerText(), /1668 pages of 2 MiB more \(32 to 1,700\)/);
	assert.match(await page.locator('#advice').innerText(), /100 MiB moved/);
	assert.match(await page.locator('#blocks .answer').innerText(), /512 of 2,048 pageblocks/);
	assert.match(await page.locator('#demand .answer').innerText(), /4,321 did not/);
	assert.match(await page.locator('#sources').innerText(), /not permitted/);
	assert.equal(await page.locator('#leaks, #timeline').count(), 0);
	await page.finish();
});

test('slabs: free slots by size, and who keeps them; nothing of it where the allocator has none', async () => {
	const page = await open(file('quarter'));
	assert.match(await page.locator('#slots .answer').innerText(), /15\.0 MiB \(25 %\) of 30 slabs of jemalloc are free slots; 9\.00 MiB would/);
	assert.equal(await page.locator('#slots rect:not(.bar-hit)').count(), 2);
	await page.locator('#slots .site-name').first().click();
	await settle(page);
	assert.equal(await page.locator('#slots tr.chosen').count(), 1);
	assert.equal(await page.locator('#leaks tbody.chosen').getAttribute('data-site'), '1');
	await page.finish();
	const none = await open(file('soak'));
	assert.equal(await none.locator('#slots, nav a[href="#slots"]').count(), 0);
	await none.finish();
});

test('the largest allocations: five and then all, when, by whom, and what is not known', async () => {
	const page = await open(file('soak'));
	const rows = page.locator('#timeline table.plain tbody tr');
	assert.equal(await rows.count(), 5);
	assert.match(await rows.first().innerText(), /64\.0 MiB\s+32\.0 MiB\s+00:29:55\s+realloc\s+1\s+cache_put/);
	assert.match(await rows.nth(1).innerText(), /63\.0 MiB\s+–\s+00:59:50\s+malloc\s+2/);
	await page.locator('#timeline button', { hasText: 'All 16' }).click();
	assert.equal(await rows.count(), 16);
	/* its moment is marked on every chart, its stack opens below it, its site is chosen */
	await rows.first().locator('.since').click();
	await page.waitForFunction(() => /&t=1795000000000/.test(location.hash));
	await rows.first().locator('.expand').click();
	assert.match(await page.locator('#timeline .detail').innerText(), /cache\.c:212/);
	await rows.first().locator('.site-name').click();
	assert.equal(await page.locator('#leaks tbody.chosen').getAttribute('data-site'), '1');
	await page.finish();
	const lost = await open(file('lost'));
	assert.match(await lost.locator('#timeline').innerText(), /Those before 01:00:00 are not known/);
	await lost.finish();
});

test('a limit of the overhead: each step, on the timeline too, and no trust in what was left out', async () => {
	const page = await open(file('governed'));
	const section = page.locator('#quality');
	assert.match(await section.innerText(), /No event was lost, but 1\.2 M blocks were left out .* below 3\.0 %/);
	assert.match(await section.locator('h3').first().innerText(), /below 3\.0 %/);
	assert.deepEqual(
		(await section.locator('table.plain tbody tr').allInnerTexts()).map((row) => row.split(/\s*\t\s*/)),
		[
			['00:00:00', 'all', 'all', '0 %', '0'],
			['02:00:00', '8', 'all', '4.1 %', '0'],
			['04:00:00', '8', '64.0 KiB', '3.6 %', '0'],
			['06:00:00', '8', 'all', '1.1 %', '1.2 M'],
			['12:00:00', '8', 'all', '2.5 %', '1.2 M'],
		],
	);
	const { marks } = await model(page, 'timeline');
	assert.deepEqual(marks.slice(-2), ['blocks left out', 'all blocks again']);
	await page.finish();
	/* without a limit there is no such table */
	const soak = await open(file('soak'));
	assert.equal(await soak.locator('#quality table.plain').count(), 0);
	assert.match(await soak.locator('#quality').innerText(), /Yes: no event was lost/);
	await soak.finish();
});
