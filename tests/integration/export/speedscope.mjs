// SPDX-License-Identifier: MIT
/*
 * speedscope.mjs CHROMIUM FILE...: what speedscope makes of files, as JSON
 *
 * The page of the npm package, opened as its own command line does it: a script that hands the file over,
 * named in the hash. What it imported is read off the page: title, and the table of its sandwich view.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [executablePath, ...files] = process.argv.slice(2);
const release = join(dirname(createRequire(import.meta.url).resolve('speedscope/package.json')), 'dist/release');
const browser = await chromium.launch({
	executablePath,
	args: ['--no-sandbox', '--use-gl=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking'],
});

async function read(file) {
	const context = await browser.newContext({ offline: true, viewport: { width: 900, height: 2400 } });
	const page = await context.newPage();
	const trouble = [];
	page.setDefaultTimeout(60000);
	/* What it can't import it says in a dialog. Uncaught errors are not looked at: on a busy machine without a GPU
	 * the page has been seen to fail an assertion of its own, with the import whole. */
	page.on('dialog', (dialog) => {
		trouble.push(dialog.message());
		void dialog.dismiss();
	});
	const script = `${file}.js`;
	const data = readFileSync(file).toString('base64');
	writeFileSync(script, `speedscope.loadFileFromBase64(${JSON.stringify(basename(file))}, ${JSON.stringify(data)})`);
	await page.goto(`${pathToFileURL(join(release, 'index.html')).href}#localProfilePath=${script}`);
	await page.getByText('Sandwich').click();
	const row = page.locator('tr', { hasText: '%' });
	await row.first().waitFor();
	const rows = await row.evaluateAll((all) => all.map((tr) => [...tr.cells].map((cell) => cell.innerText)));
	const profiles = await page.locator('tr[title]').evaluateAll((all) => all.map((tr) => tr.title));
	const result = { title: await page.title(), profiles, rows, trouble };
	await context.close();
	return result;
}

try {
	const results = [];
	for (const file of files) results.push(await read(file));
	process.stdout.write(JSON.stringify(results));
} finally {
	await browser.close();
}
