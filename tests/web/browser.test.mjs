// SPDX-License-Identifier: MIT
/* The report as a reader opens it: the page as a whole, and what all of its parts share. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { axe, decodePng, file, fixtures, open, settle } from './page.mjs';
import './sections.test.mjs';

for (const kind of ['soak', 'quarter', 'hostile', 'empty', 'lost', 'governed', 'sampled', 'diff', 'codec', 'machine'])
	test(`${kind}: opens without error, message, violation or request`, async () => {
		const page = await open(file(kind));
		assert.equal(await page.locator('.damaged').count(), 0);
		assert.equal(await page.locator('#floor').isVisible(), false);
		await page.finish();
	});

test('the policy names the scripts and the style by hash and allows nothing else', () => {
	const html = readFileSync(file('soak'), 'utf8');
	const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)[1];
	const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
	const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((found) => hash(found[1]));
	const style = hash(/<style>([\s\S]*?)<\/style>/.exec(html)[1]);
	assert.equal(
		policy,
		`default-src 'none'; script-src ${scripts.join(' ')}; style-src ${style}; img-src data: blob:; worker-src blob:`,
	);
	assert.equal(scripts.length, 2);
});

test('nothing in the file points to the outside', () => {
	const html = readFileSync(file('soak'), 'utf8');
	const markup = html.replace(/<script>[\s\S]*?<\/script>/g, '');
	assert.doesNotMatch(markup, /\b(?:src|href|action|data)\s*=\s*["']?\s*(?:https?:)?\/\//i);
	assert.doesNotMatch(html, /url\(\s*["']?(?:https?:)?\/\//i);
	assert.doesNotMatch(html, /@import/);
	assert.doesNotMatch(markup, /\sstyle\s*=|\son[a-z]+\s*=\s*"/i);
});

test('sizes stay in their budgets', () => {
	const html = readFileSync(file('soak'), 'utf8');
	const app = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].at(-1)[1];
	assert.ok(app.length <= 350 * 1024, `app.js is ${app.length} bytes`);
	assert.ok(statSync(file('soak')).size <= 5 * 1024 * 1024);
});

test('every canvas shows a picture', async () => {
	const page = await open(file('soak'));
	const drawn = await page.evaluate(() =>
		[...document.querySelectorAll('canvas')].map((canvas) => {
			const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
			const colours = new Set();
			let inked = 0;
			for (let i = 0; i < data.length; i += 4) {
				if (data[i + 3] === 0) continue;
				inked++;
				if (colours.size < 8) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
			}
			const owner = canvas.closest('section, header')?.id || canvas.parentElement.className;
			return { owner, share: inked / (data.length / 4), colours: colours.size };
		}),
	);
	assert.ok(drawn.length >= 7, `${drawn.length} canvases`);
	for (const canvas of drawn) {
		assert.ok(canvas.share > 0.01, `${canvas.owner}: ${canvas.share} inked`);
		/* the strip under the header is one area in one colour */
		assert.ok(canvas.colours >= (canvas.owner.includes('overview') || canvas.owner === '' ? 1 : 3), JSON.stringify(canvas));
	}
	assert.ok((await page.locator('#flame g.frame').count()) > 10);
	assert.ok((await page.locator('#leaks .spark').count()) > 8);
	await page.finish();
});

test('a heap map with a quarter of its cells empty shows a quarter of holes', async () => {
	const page = await open(file('quarter'));
	const { plot, empty } = await page.evaluate(() => window.__report.model('map'));
	assert.equal(empty, 0.25);
	const canvas = page.locator('canvas.map');
	await canvas.scrollIntoViewIfNeeded();
	const png = decodePng(await canvas.screenshot());
	let holes = 0;
	let total = 0;
	for (let y = 2; y < plot.height - plot.bottom - 2; y++)
		for (let x = plot.left + 2; x < png.width - plot.right - 2; x++) {
			const at = (y * png.width + x) * png.channels;
			total++;
			/* the colour of a hole is nearly white, that of a full cell is yellow */
			if (png.data[at + 2] > 200) holes++;
		}
	const share = holes / total;
	assert.ok(Math.abs(share - 0.25) < 0.01, `${(share * 100).toFixed(2)} % of the map are holes`);
	await page.finish();
});

test('the timeline keeps the exact peak, which fell between two ticks', async () => {
	const page = await open(file('quarter'));
	assert.equal((await page.evaluate(() => window.__report.model('timeline'))).max, 123456789);
	await page.finish();
});

test('a site chosen in the table is chosen everywhere, and in the address', async () => {
	const page = await open(file('soak'));
	await page.locator('#leaks tbody[data-site="1"] .site-name').click();
	await page.waitForFunction(() => /[#&]s=[0-9a-f]{8}/.test(location.hash));
	await settle(page);
	assert.equal(await page.locator('#leaks tbody.chosen').getAttribute('data-site'), '1');
	assert.match(await page.locator('#timeline .legend').innerText(), /cache_put/);
	assert.match(await page.locator('.chips').innerText(), /cache_put/);
	assert.equal(await page.locator('#pins tr.chosen .site-name').first().innerText(), 'cache_put');
	assert.ok((await page.locator('.findings button[aria-pressed="true"]').count()) >= 1);
	assert.ok((await page.locator('#flame rect[fill="#7CC0F5"]').count()) >= 4);
	await page.keyboard.press('Escape');
	await page.waitForFunction(() => !/[#&]s=/.test(location.hash));
	assert.equal(await page.locator('#leaks tbody.chosen').count(), 0);
	await page.finish();
});

test('a range drawn on one chart is the range of all, survives a reload and is undone by a double-click', async () => {
	const page = await open(file('soak'));
	const box = await page.locator('#timeline .u-over').boundingBox();
	await page.mouse.move(box.x + box.width * 0.25, box.y + 60);
	await page.mouse.down();
	await page.mouse.move(box.x + box.width * 0.5, box.y + 70, { steps: 5 });
	await page.mouse.up();
	await page.waitForFunction(() => /r=\d+-\d+/.test(location.hash));
	const [, a, b] = /r=(\d+)-(\d+)/.exec(await page.evaluate(() => location.hash)).map(Number);
	const run = 42960e9;
	assert.ok(Math.abs(a / run - 0.25) < 0.01 && Math.abs(b / run - 0.5) < 0.01, `${a} ${b}`);
	const chip = await page.locator('.chips .chip-text').first().innerText();
	await page.reload();
	await page.waitForFunction(() => window.__report?.ready);
	await settle(page);
	assert.equal(await page.locator('.chips .chip-text').first().innerText(), chip);
	await page.locator('#threads .u-over').dblclick();
	await page.waitForFunction(() => !location.hash.includes('r='));
	await page.finish();
});

test('an address restores range, moment, site, thread, metric, theme and language', async () => {
	const page = await open(file('soak'), {
		hash: '#v=1&r=10000000000000-35000000000000&t=20000000000000&s=2&th=3&m=peak&theme=dark&lang=zh',
	});
	const chips = await page.locator('.chips .chip-text').allInnerTexts();
	assert.deepEqual(chips, ['02:46:40 – 09:43:20', '05:33:20', 'log_open', 'worker-0']);
	assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
	assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
	assert.match(await page.locator('#timeline h2').innerText(), /存活内存/);
	assert.equal((await page.evaluate(() => window.__report.model('flame'))).metric, 'peak');
	assert.equal((await page.evaluate(() => window.__report.model('threads'))).selected, 3);
	await page.finish();
});

test('a metric changes the flame graph', async () => {
	const page = await open(file('soak'));
	const total = () => page.evaluate(() => window.__report.model('flame').total);
	const leaked = await total();
	await page.locator('#flame .switch button', { hasText: 'Allocations' }).click();
	await page.waitForFunction((old) => window.__report.model('flame').total !== old, leaked);
	await settle(page);
	assert.ok((await page.locator('#flame g.frame').count()) > 5);
	await page.finish();
});

test('keys alone lead to a copied stack', async () => {
	const page = await open(file('soak'), { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
	await page.keyboard.press('/');
	await page.keyboard.type('log_open');
	await page.waitForFunction(() => window.__report.model('leaks').rows === 1);
	await page.locator('#leaks .expand').focus();
	await page.keyboard.press('Enter');
	await page.locator('#leaks .stack-side button').first().focus();
	await page.keyboard.press('Enter');
	await page.locator('.toast', { hasText: 'Copied' }).waitFor();
	const copied = await page.evaluate(() => navigator.clipboard.readText());
	assert.match(copied, /^#0 log_open at src\/log\.c:88 \(cacheserver\+0x[0-9a-f]+\)\n#1 log_for_client/);
	await page.finish();
});

test('single keys: theme, language, help, arrows on a chart; none of them while typing', async () => {
	const page = await open(file('soak'));
	const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
	await page.keyboard.press('t');
	assert.equal(await theme(), 'dark');
	await page.keyboard.press('l');
	assert.match(await page.locator('#leaks h2').innerText(), /哪些调用点/);
	await page.keyboard.press('l');
	await page.keyboard.press('?');
	await page.locator('dialog[open]').waitFor();
	await page.keyboard.press('Escape');
	await page.locator('dialog[open]').waitFor({ state: 'detached' }).catch(() => {});
	assert.equal(await page.locator('dialog[open]').count(), 0);
	await page.locator('#timeline .chart-box').focus();
	await page.keyboard.press('ArrowLeft');
	await page.waitForFunction(() => /t=\d+/.test(location.hash));
	await page.locator('#search').focus();
	await page.keyboard.type('t');
	assert.equal(await theme(), 'dark');
	await page.finish();
});

test('the table twin of a chart has its rows', async () => {
	const page = await open(file('soak'));
	await page.locator('#timeline-table summary').click();
	await page.locator('#timeline-table tbody tr').first().waitFor();
	await settle(page);
	assert.equal(await page.locator('#timeline-table tbody tr').count(), 200);
	assert.equal(await page.locator('#timeline-table caption').count(), 1);
	await page.finish();
});

test('resident memory: the terms at the last sample, over time, and the residual', async () => {
	const page = await open(file('soak'));
	const { terms, samples, largest } = await page.evaluate(() => window.__report.model('rss'));
	assert.equal(samples, 120);
	assert.equal(terms.residual, 4 << 20);
	assert.equal(largest, 1186 * (1 << 20)); // the stack of the terms, at its highest
	const shown = await page
		.locator('#rss .fall tbody tr')
		.evaluateAll((rows) => rows.map((row) => [row.dataset.term, row.cells[2].textContent]));
	assert.deepEqual(Object.fromEntries(shown), {
		file: '20.0 MiB', stack: '1.00 MiB', other: '9.00 MiB', tracer: '11.0 MiB', live_req: '520 MiB',
		round: '30.0 MiB', meta: '16.0 MiB', pin_free: '412 MiB', empty_res: '171 MiB', live_nr: '−4.00 MiB',
		residual: '4.00 MiB', rss: '1.16 GiB',
	});
	const text = await page.locator('#rss').innerText();
	assert.match(text, /562 MiB are live blocks, 583 MiB are free memory .* 41\.0 MiB lie outside/);
	assert.match(text, /leave 4\.00 MiB unexplained \(0\.3 %\)/);
	assert.match(text, /In 97\.5 % of 119 samples/);
	/* the bars make a staircase: the last but one ends where the whole ends */
	const bars = await page
		.locator('#rss .fall rect')
		.evaluateAll((all) => all.map((r) => [Number(r.getAttribute('x')), Number(r.getAttribute('width'))]));
	assert.ok(Math.abs(bars[10][0] + bars[10][1] - (bars[11][0] + bars[11][1])) < 2);
	await page.locator('#rss-table summary').click();
	await page.locator('#rss-table tbody tr').first().waitFor();
	await settle(page);
	assert.equal(await page.locator('#rss-table tbody tr').count(), 120);
	assert.equal(await page.locator('#rss-table thead th').count(), 13);
	await page.finish();
});

test('remedies by what they save, the survivors of the peak, and the raised threshold', async () => {
	const page = await open(file('soak'));
	const codes = (await page.evaluate(() => window.__report.model('remedies'))).map((r) => r.code);
	assert.deepEqual(codes, ['pool', 'malloc_trim', 'mmap_threshold', 'trim_threshold', 'arena_max', 'of_tomorrow']);
	const text = await page.locator('#remedies').innerText();
	assert.match(text, /200 MiB, would come from: A pool of their own for report_rows/);
	assert.match(text, /2\.00 MiB live bytes of these sites alone keep 51,200 pages/);
	assert.match(text, /M_MMAP_THRESHOLD fixed at 128 KiB/);
	assert.match(text, /MALLOC_ARENA_MAX=2/);
	assert.match(text, /a remedy in the words of the analyzer/);
	assert.match(text, /still live: 48,213 blocks, 23\.0 MiB; they keep 25,600 partly free pages \(100 MiB\)/);
	assert.match(text, /to 2\.00 MiB \(3 times in all\).*report_rows had allocated in thread 9/);
	await page.locator('#remedies-table summary').click();
	await page.locator('#remedies-table tbody tr').first().waitFor();
	await settle(page);
	assert.equal(await page.locator('#remedies-table tbody tr').count(), 6);
	await page.finish();
});

test('what a recording does not hold is said in words', async () => {
	const page = await open(file('quarter'));
	assert.match(await page.locator('#rss').innerText(), /no samples of residency/);
	const text = await page.locator('#remedies').innerText();
	assert.match(text, /No setting of the allocator/);
	assert.match(text, /no earlier peak/);
	assert.match(text, /No: no free raised it/);
	assert.match(await page.locator('#frag .chip').innerText(), /known by mapping only/);
	assert.match(await page.locator('#quality').innerText(), /known by mapping only/);
	await page.finish();
	const none = await open(file('empty'));
	for (const id of ['rss', 'map', 'pages', 'holes', 'pins', 'remedies', 'frag', 'orders', 'compact'])
		assert.match(await none.locator(`#${id}`).innerText(), /not part of this report/);
	await none.finish();
});

test('a site says why it has its verdict', async () => {
	const page = await open(file('soak'), { hash: '#v=1&lang=zh' });
	const titles = await page
		.locator('#leaks .badge')
		.evaluateAll((all) => all.map((badge) => badge.title));
	assert.ok(titles.some((title) => title.includes('回落了 12 次')), titles.join());
	await page.locator('#leaks .expand').first().click();
	assert.match(await page.locator('#leaks .reason').first().innerText(), /增长.*各个阶段/);
	await page.finish();
});

test('sorting and the suspects filter', async () => {
	const page = await open(file('soak'));
	assert.equal((await page.evaluate(() => window.__report.model('leaks'))).first, 1);
	await page.locator('#leaks th.col-bytes button').click();
	await page.waitForFunction(() => window.__report.model('leaks').first === 4); // index_load, 182 MiB
	assert.equal(await page.locator('#leaks th.col-bytes').getAttribute('aria-sort'), 'descending');
	await page.locator('#leaks .switch button', { hasText: 'Suspects' }).click();
	await page.waitForFunction(() => window.__report.model('leaks').rows === 3);
	await page.finish();
});

test('a file that was cut off says so, and shows what arrived', async () => {
	const html = readFileSync(file('soak'));
	const cut = join(fixtures, 'cut.html');
	const at = html.indexOf('id="c9"');
	writeFileSync(cut, html.subarray(0, at + 200));
	const page = await open(cut, { wait: false });
	await page.locator('#banner-cut').waitFor();
	assert.match(await page.locator('#banner-cut').innerText(), /\d+ of \d+ parts/);
	assert.match(await page.locator('#verdict-h').innerText(), /keep growing/);
	assert.ok((await page.locator('.damaged').count()) > 0, 'sections without data say so');
	assert.equal(page.trouble.length, 0, page.trouble.join());
	await page.context().close();
});

test('a damaged chunk damages its own section alone', async () => {
	const html = readFileSync(file('soak'), 'latin1');
	const { columns } = await (async () => {
		const page = await open(file('codec'));
		await page.finish();
		const boot = /id="boot">([^<]*)/.exec(html)[1];
		const { gunzipSync } = await import('node:zlib');
		return JSON.parse(gunzipSync(Buffer.from(boot, 'base64')).toString());
	})();
	const chunk = columns.find((column) => column.name === 'threads.series').chunk;
	const at = html.indexOf(`id="c${chunk}">`) + `id="c${chunk}">`.length + 400;
	const flipped = html.slice(0, at) + (html[at] === 'A' ? 'B' : 'A') + html.slice(at + 1);
	const path = join(fixtures, 'flipped.html');
	writeFileSync(path, flipped, 'latin1');
	const page = await open(path);
	assert.equal(await page.locator('#threads .damaged').count(), 1);
	assert.equal(await page.locator('#leaks .damaged').count(), 0);
	assert.equal(await page.locator('#flame .damaged').count(), 0);
	assert.equal(await page.locator('#map .damaged').count(), 0);
	await page.finish();
});

test('hostile names stay text', async () => {
	const page = await open(file('hostile'));
	assert.notEqual(await page.title(), 'owned');
	assert.equal(await page.locator('img').count(), 0);
	assert.equal(await page.locator('#app b, #floor b').count(), 0);
	await page.locator('#leaks .expand').first().click();
	const name = await page.locator('#leaks .site-name').first().innerText();
	assert.ok(name.startsWith('</script><img src=x onerror='), name);
	assert.match(name, /\\u202e/);
	assert.doesNotMatch(await page.locator('body').innerText(), /\u202e/);
	await page.finish();
});

test('without JavaScript the verdict, the numbers and the leaks are there', async () => {
	const page = await open(file('soak'), { context: { javaScriptEnabled: false }, wait: false });
	assert.match(await page.locator('#floor .verdict').innerText(), /3 call sites keep growing/);
	assert.equal(await page.locator('#floor tbody tr').count(), 12);
	assert.ok(await page.locator('#floor tbody tr').first().isVisible());
	assert.match(await page.locator('#floor .facts').innerText(), /MiB/);
	await page.context().close();
	const hostile = await open(file('hostile'), { context: { javaScriptEnabled: false }, wait: false });
	assert.equal(await hostile.locator('img').count(), 0);
	assert.match(await hostile.locator('#floor h1').innerText(), /<\/script><img/);
	await hostile.context().close();
});

test('states of trouble are told: losses, a cut-off recording, nothing recorded', async () => {
	const lost = await open(file('lost'));
	const banners = (await lost.locator('.banner').allInnerTexts()).join('\n');
	assert.match(banners, /18,220 events were lost/);
	assert.match(banners, /cut off/);
	assert.equal(await lost.locator('#quality tbody tr').count(), 1);
	await lost.finish();
	const empty = await open(file('empty'));
	assert.match(await empty.locator('#timeline').innerText(), /Nothing was recorded/);
	assert.match(await empty.locator('#map').innerText(), /not part of this report/);
	await empty.finish();
});

for (const [kind, hash] of [
	['soak', '#v=1&theme=light&s=1&t=20000000000000'],
	['soak', '#v=1&theme=dark&s=1&th=3&r=10000000000000-35000000000000&a=55d0c4a3b000-55d0c4a3c000&lang=zh'],
	['diff', '#v=1&theme=light&m=diff&c=site'],
	['empty', '#v=1&theme=light&lang=zh'],
	['empty', '#v=1&theme=dark'],
	['quarter', '#v=1&theme=dark&a=55d0c4a3c000-55d0c4a3d000'],
	['lost', '#v=1&theme=dark'],
	['governed', '#v=1&theme=light'],
	['sampled', '#v=1&theme=light'],
	['codec', '#v=1&theme=light'],
	['hostile', '#v=1&theme=light'],
	['machine', '#v=1&theme=light'],
	['machine', '#v=1&theme=dark&lang=zh'],
])
	test(`accessibility: ${kind} ${hash.slice(5)} has no axe violation`, async () => {
		const page = await open(file(kind), { hash });
		if (kind === 'soak') await page.locator('#leaks .expand').first().click();
		assert.deepEqual(await axe(page), []);
		await page.finish();
	});

test('a small screen needs no sideways scrolling, in both languages', async () => {
	for (const kind of ['soak', 'machine'])
		for (const lang of ['en', 'zh']) {
			const page = await open(file(kind), {
				hash: `#v=1&lang=${lang}${kind === 'soak' ? '&s=1&r=10000000000000-35000000000000&t=28720000000000' : ''}`,
				context: { viewport: { width: 390, height: 800 } },
			});
			assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390, `${kind} ${lang}`);
			await page.finish();
		}
});

test('the report prints', async () => {
	const page = await open(file('soak'), { hash: '#v=1&theme=dark' });
	const pdf = await page.pdf();
	assert.ok(pdf.length > 20000, `${pdf.length} bytes`);
	await page.finish();
});
