// SPDX-License-Identifier: MIT
/*
 * build.mjs OUTDIR: bundle the front end into OUTDIR/program.html and OUTDIR/machine.html
 *
 * A template is what report.c streams: everything of the page but the data. Scripts and styles are
 * inlined, and named in the content security policy by their hash, so that nothing else can run. The
 * page about a program and that about a machine have a script each: neither carries the other's.
 */
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const APP_LIMIT = 350 * 1024;
const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, 'dist');

/* beside the sources, where they were copied to build; else where it belongs */
const format = [join(here, 'FORMAT.md'), join(here, '..', 'FORMAT.md')].find((file) => existsSync(file));
execFileSync(process.execPath, [join(here, 'schema.mjs'), format, join(here, 'src', 'schema.ts')]);

async function bundle(entry) {
	const result = await build({
		entryPoints: [join(here, 'src', entry)],
		bundle: true,
		minify: true,
		write: false,
		format: entry.endsWith('.css') ? undefined : 'iife',
		target: ['chrome100', 'firefox113', 'safari16.4'],
		charset: 'utf8',
		legalComments: 'none',
		jsx: 'automatic',
		jsxImportSource: 'preact',
		/* the page has one style sheet: what a library would bring along stays out */
		loader: { '.css': entry.endsWith('.css') ? 'css' : 'empty' },
		alias: {
			'd3-transition': join(here, 'src', 'still.ts'),
			...Object.fromEntries(
				['d3-scale', 'd3-format', 'd3-array', 'd3-ease'].map((name) => [name, join(here, 'src', 'few.ts')]),
			),
		},
		define: { 'process.env.NODE_ENV': '"production"' },
	});
	return result.outputFiles[0].text.trim();
}

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const pages = ['program', 'machine'];
const [style, theme, ...apps] = await Promise.all(
	['style.css', 'theme.ts', ...pages.map((page) => `${page}.tsx`)].map(bundle),
);
const shell = readFileSync(join(here, 'src', 'page.html'), 'utf8');

mkdirSync(out, { recursive: true });
for (const [i, app] of apps.entries()) {
	for (const [name, text] of Object.entries({ style, theme, app })) {
		if (text.includes('@rp:')) throw new Error(`${name} contains a marker of the template`);
		if (/<\/(script|style)/i.test(text)) throw new Error(`${name} would end its element`);
	}
	if (app.length > APP_LIMIT) throw new Error(`the ${pages[i]}'s app is ${app.length} bytes, over ${APP_LIMIT}`);

	const policy = [
		"default-src 'none'",
		`script-src ${hash(theme)} ${hash(app)}`,
		`style-src ${hash(style)}`,
		'img-src data: blob:',
		'worker-src blob:',
	].join('; ');

	writeFileSync(
		join(out, `${pages[i]}.html`),
		shell
			.replace('@build:policy@', () => policy)
			.replace('@build:style@', () => style)
			.replace('@build:theme@', () => theme)
			.replace('@build:app@', () => app),
	);
	console.log(`report front end: the ${pages[i]}'s app ${app.length} bytes, style ${style.length} bytes`);
}
