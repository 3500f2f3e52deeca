// SPDX-License-Identifier: MIT
/*
 * What the browser tests share: a report in Debian's chromium, opened from file:// without a network
 *
 * WEB_FIXTURES is the folder of fixtures, WEB_CHROMIUM the browser. Each page collects everything that
 * must not happen (errors, console messages, policy violations, requests) and is asked at its end.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inflateSync } from 'node:zlib';
import { chromium } from 'playwright-core';

export const fixtures = process.env.WEB_FIXTURES;
export const file = (kind) => join(fixtures, `${kind}.html`);
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;

before(async () => {
	browser = await chromium.launch({
		executablePath: process.env.WEB_CHROMIUM,
		args: [
			'--no-sandbox',
			'--disable-gpu',
			'--disable-background-networking',
			'--disable-component-update',
			'--font-render-hinting=none',
		],
	});
});
after(async () => browser?.close());

/* Open a report; the page's `trouble` is what a reader must never meet. */
export async function open(path, { hash = '', context: options = {}, wait = true } = {}) {
	const context = await browser.newContext({
		offline: true,
		viewport: { width: 1280, height: 900 },
		reducedMotion: 'reduce',
		colorScheme: 'light',
		locale: 'en-GB',
		...options,
	});
	const page = await context.newPage();
	page.setDefaultTimeout(90000); // other work may hold the machine
	page.trouble = [];
	page.on('pageerror', (error) => page.trouble.push(`error: ${error}`));
	page.on('console', (message) => page.trouble.push(`console: ${message.text()}`));
	page.on('dialog', (dialog) => {
		page.trouble.push(`dialog: ${dialog.message()}`);
		void dialog.dismiss();
	});
	const url = pathToFileURL(path).href;
	page.on('request', (request) => {
		if (request.url().split('#')[0] !== url) page.trouble.push(`request: ${request.url()}`);
	});
	if (options.javaScriptEnabled !== false)
		await page.addInitScript(() => {
			window.violations = [];
			document.addEventListener('securitypolicyviolation', (event) =>
				window.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
			);
		});
	await page.goto(url + hash);
	if (wait) {
		await page.waitForFunction(() => window.__report?.ready);
		await settle(page);
	}
	page.finish = async () => {
		const violations = await page.evaluate(() => window.violations ?? []);
		await context.close();
		assert.deepEqual([...page.trouble, ...violations], []);
	};
	return page;
}

/* No column is being read, and what followed from them was drawn: effects run behind a frame. */
export async function settle(page) {
	await page.waitForFunction(
		() =>
			window.__report.pending === 0 &&
			!/Reading…|读取中…/.test(document.body.innerText) &&
			[...document.querySelectorAll('.chart-box')].every((box) => box.querySelector('canvas')),
	);
	await page.evaluate(
		() =>
			new Promise((done) => {
				let frames = 5;
				const step = () => (frames-- > 0 ? requestAnimationFrame(step) : done());
				step();
			}),
	);
}

/* What axe finds on the page as it stands; every box is opened first, and of the long tables, whose rows are alike,
 * the first rows are looked at. The page is of no use afterwards. */
export async function axe(page) {
	await page.evaluate(() => {
		for (const box of document.querySelectorAll('details:not([open])')) if (box.checkVisibility()) box.open = true;
	});
	await settle(page);
	await page.evaluate(axeSource);
	return page.evaluate(async () => {
		for (const row of document.querySelectorAll('.twin tbody tr:nth-child(n + 5)')) row.remove();
		const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'];
		const result = await window.axe.run(document, { runOnly: { type: 'tag', values: tags } });
		if (result.passes.length < 10) return ['axe looked at next to nothing'];
		return result.violations.map(
			(v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join(' | ')}`,
		);
	});
}

/* How many pixels of a canvas have one of the colours, by a test on r, g, b; of a rectangle in CSS pixels. */
export function pixels(page, selector, box, isOne) {
	return page.evaluate(
		([name, [x, y, w, h], source]) => {
			const canvas = document.querySelector(name);
			const ratio = canvas.width / canvas.clientWidth;
			const test = new Function('r', 'g', 'b', `return ${source}`);
			/* a copy on white: reading the page's own canvas would make it slow */
			const copy = new OffscreenCanvas(Math.round(w * ratio), Math.round(h * ratio));
			const c = copy.getContext('2d', { willReadFrequently: true });
			c.fillStyle = '#ffffff';
			c.fillRect(0, 0, copy.width, copy.height);
			c.drawImage(canvas, -Math.round(x * ratio), -Math.round(y * ratio));
			const { data } = c.getImageData(0, 0, copy.width, copy.height);
			let hits = 0;
			for (let i = 0; i < data.length; i += 4) if (test(data[i], data[i + 1], data[i + 2])) hits++;
			return hits / (data.length / 4);
		},
		[selector, box, isOne],
	);
}

/* The pixels of a PNG of 8 bits a channel, as playwright writes it. */
export function decodePng(png) {
	const parts = [];
	let width = 0;
	let height = 0;
	let channels = 4;
	for (let at = 8; at < png.length; ) {
		const length = png.readUInt32BE(at);
		const type = png.toString('latin1', at + 4, at + 8);
		const body = png.subarray(at + 8, at + 8 + length);
		if (type === 'IHDR') {
			width = body.readUInt32BE(0);
			height = body.readUInt32BE(4);
			channels = body[9] === 6 ? 4 : 3;
		}
		if (type === 'IDAT') parts.push(body);
		at += 12 + length;
	}
	const raw = inflateSync(Buffer.concat(parts));
	const stride = width * channels;
	const out = Buffer.alloc(height * stride);
	for (let y = 0; y < height; y++) {
		const filter = raw[y * (stride + 1)];
		for (let x = 0; x < stride; x++) {
			const left = x >= channels ? out[y * stride + x - channels] : 0;
			const up = y > 0 ? out[(y - 1) * stride + x] : 0;
			const corner = y > 0 && x >= channels ? out[(y - 1) * stride + x - channels] : 0;
			const estimate = left + up - corner;
			const distances = [left, up, corner].map((v) => Math.abs(estimate - v));
			const paeth =
				distances[0] <= distances[1] && distances[0] <= distances[2]
					? left
					: distances[1] <= distances[2]
						? up
						: corner;
			const add = [0, left, up, (left + up) >> 1, paeth][filter];
			out[y * stride + x] = (raw[y * (stride + 1) + 1 + x] + add) & 255;
		}
	}
	return { width, height, channels, data: out };
}
