#!/usr/bin/env node
// SPDX-License-Identifier: MIT
/*
 * page.mjs REPORT.html [LOADS]: how fast a report opens in Debian's chromium, and how smoothly it moves
 *
 * Opens the file LOADS times (5), each in a browser context of its own, then drags pointer, cursor, range and
 * moment about in the last one. Prints medians and 95th percentiles; asserts nothing. A frame's time is the
 * CPU time of the page's main thread in the longer one of the two frames that follow an event: the one that
 * renders, and the one in which effects draw. Uses playwright-core as scripts/screenshot does: `npm ci --prefix tests/web`.
 */
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const FRAMES = 120;
const [report, loads = '5'] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/snap/bin/chromium'].find(existsSync);
if (!report || !executablePath) {
	console.error(report ? 'page.mjs: chromium is not installed' : 'usage: page.mjs REPORT.html [LOADS]');
	process.exit(2);
}
const web = join(dirname(fileURLToPath(import.meta.url)), '..', 'web');
const folder = process.env.FRAGTRACE_WEB_TESTS ?? web;
const { chromium } = createRequire(join(folder, 'package.json'))('playwright-core');

const sorted = (values) => [...values].sort((a, b) => a - b);
const quantile = (values, share) => sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))];
const ms = (value) => `${value.toFixed(1)} ms`;
const say = (what, values) =>
	console.log(
		`${what.padEnd(44)} median ${ms(quantile(values, 0.5))}, p95 ${ms(quantile(values, 0.95))}, most ${ms(Math.max(...values))}` +
			(values.length < 20 ? ` (${values.length})` : ''),
	);

const browser = await chromium.launch({
	executablePath,
	args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--enable-precise-memory-info'],
});

/* When what is above the fold has been drawn: the page looks by itself, frame by frame. */
function watch() {
	window.opened = {};
	const look = () => {
		const inSight = (element) => {
			const { top, bottom } = element.getBoundingClientRect();
			return bottom > 0 && top < innerHeight;
		};
		if (document.querySelector('main section canvas')) {
			window.opened.ready ??= performance.now();
			const boxes = [...document.querySelectorAll('.chart-box, canvas')].filter(inSight);
			const waiting = [...document.querySelectorAll('p.muted')].some((p) => inSight(p) && /Reading…|读取中…/.test(p.textContent));
			if (boxes.length > 0 && !waiting && boxes.every((box) => box.tagName === 'CANVAS' || box.querySelector('canvas')))
				window.opened.fold ??= performance.now();
			if (window.__report.ready && window.__report.pending === 0 && window.opened.fold) {
				window.opened.all ??= performance.now();
				return;
			}
		}
		requestAnimationFrame(look);
	};
	look();
}

/* CPU time of the page's main thread so far: not what waits for a screen or for other programs. */
async function busy(session) {
	const { metrics } = await session.send('Performance.getMetrics');
	return metrics.find((one) => one.name === 'TaskDuration').value * 1000;
}

async function open() {
	const context = await browser.newContext({ offline: true, viewport: { width: 1280, height: 900 } });
	const page = await context.newPage();
	page.setDefaultTimeout(120000);
	const session = await context.newCDPSession(page);
	await session.send('Performance.enable', { timeDomain: 'threadTicks' });
	await page.addInitScript(watch);
	await page.goto(pathToFileURL(resolve(report)).href, { waitUntil: 'commit' });
	await page.waitForFunction(() => window.opened?.fold);
	const cpu = await busy(session);
	await page.waitForFunction(() => window.opened?.all);
	const times = await page.evaluate(() => {
		const paint = performance.getEntriesByName('first-contentful-paint')[0];
		const { domContentLoadedEventEnd } = performance.getEntriesByType('navigation')[0];
		return { ...window.opened, paint: paint?.startTime ?? NaN, dom: domContentLoadedEventEnd, heap: performance.memory.usedJSHeapSize };
	});
	return { context, page, session, times: { ...times, cpu } };
}

console.log(`${report}: ${(statSync(report).size / 1048576).toFixed(2)} MiB, chromium ${browser.version()}`);
const opened = [];
let last;
for (let i = 0; i < Number(loads); i++) {
	await last?.context.close();
	last = await open();
	opened.push(last.times);
}
say('first contentful paint', opened.map((one) => one.paint));
say('first section can be used', opened.map((one) => one.ready));
say('all above the fold is drawn', opened.map((one) => one.fold));
say('the same, CPU time of the main thread', opened.map((one) => one.cpu));
say('all columns that the page asked for are read', opened.map((one) => one.all));
console.log(`${'memory of the scripts'.padEnd(44)} ${(quantile(opened.map((one) => one.heap), 0.5) / 1048576).toFixed(1)} MiB`);

/* One event a frame: `step` is the body of a function of the element, the frame's number and how many there are. */
async function scrub(page, session, what, selector, step) {
	const element = page.locator(selector).first();
	if ((await element.count()) === 0) return;
	await element.scrollIntoViewIfNeeded();
	await page.waitForFunction(() => window.__report.pending === 0);
	const handle = await element.elementHandle();
	const found = [];
	const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
	for (let i = -10; i < FRAMES; i++) {
		const start = await busy(session);
		await handle.evaluate(
			async (target, [at, n, source, wait]) => {
				new Function('target', 'i', 'n', source)(target, at, n);
				await new Function(`return (${wait})()`)();
			},
			[Math.max(0, i), FRAMES, step, String(frame)],
		);
		const first = await busy(session);
		/* effects of what was rendered draw in a frame of their own */
		await handle.evaluate((_target, wait) => new Function(`return (${wait})()`)(), String(frame));
		const second = await busy(session);
		if (i >= 0) found.push(Math.max(first - start, second - first));
	}
	say(what, found);
}

const move = (type, extra = '') => `
	const { left, top, width, height } = target.getBoundingClientRect();
	target.dispatchEvent(new MouseEvent('${type}', { bubbles: true, cancelable: true, view: window,
		clientX: left + 120 + ((width - 160) * i) / n, clientY: top + height / 3 ${extra} }));`;
const wheel = `
	const { left, width, top, height } = target.getBoundingClientRect();
	target.dispatchEvent(new WheelEvent('wheel', { bubbles: true, cancelable: true, ctrlKey: true, deltaY: i % 40 < 20 ? -100 : 100,
		clientX: left + width * 0.6, clientY: top + height / 2 }));`;
const key = `target.dispatchEvent(new KeyboardEvent('keydown', { key: i % 60 < 30 ? 'ArrowLeft' : 'ArrowRight', bubbles: true, cancelable: true }));`;
const slide = `target.value = String(i % (Number(target.max) + 1)); target.dispatchEvent(new Event('input', { bubbles: true }));`;

const { page, session } = last;
console.log('a frame, CPU time of the main thread:');
await scrub(page, session, 'nothing (what measuring costs)', 'h1', '');
await scrub(page, session, 'pointer over the timeline', '#timeline .u-over', move('mousemove'));
await scrub(page, session, 'zoom of the timeline', '#timeline .u-over', wheel);
await scrub(page, session, 'cursor by keys on the timeline', '#timeline .chart-box', key);
await scrub(page, session, 'pointer over the heap map', '#map canvas.map', move('mousemove'));
await scrub(page, session, 'zoom of the heap map', '#map canvas.map', wheel);
await scrub(page, session, 'cursor by keys on the heap map', '#map canvas.map', key);
await scrub(page, session, 'moments of the page map', '.pagemap input[type="range"]', slide);
await scrub(page, session, 'metric of the flame graph', '#flame .tools', `const all = target.querySelectorAll('.switch button'); all[i % Math.min(4, all.length)].click();`);
await scrub(page, session, 'order of the table of leaks', '#leaks thead', `const all = target.querySelectorAll('button'); all[i % all.length].click();`);
await browser.close();
