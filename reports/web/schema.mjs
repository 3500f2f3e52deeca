// SPDX-License-Identifier: MIT
/*
 * schema.mjs FORMAT.md OUT.ts: the types of the analysis document, cut out of its description
 *
 * The description is the one source: its blocks of TypeScript are the sections, its table of columns
 * the columns. An entry of the table may hold several names: "`a.x`, `.y`" is a.x and a.y.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const [from, to] = process.argv.slice(2);
const format = readFileSync(from, 'utf8');

const blocks = [...format.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((found) => found[1]);
if (blocks.length === 0) throw new Error(`${from} has no blocks of types`);

function names(cell) {
	const found = [...cell.matchAll(/`([^`]+)`/g)].map((name) => name[1]);
	const stem = found[0]?.replace(/\.[^.]*$/, '');
	return found.map((name) => (name.startsWith('.') ? stem + name : name));
}

const columns = [];
for (const line of format.split('\n')) {
	const cells = line.split('|').map((cell) => cell.trim());
	if (cells.length < 5 || !/^(u8|u32|u64|i64|f64)$/.test(cells[2])) continue;
	for (const name of names(cells[1])) columns.push([name, cells[2]]);
}
if (columns.length === 0) throw new Error(`${from} has no table of columns`);

writeFileSync(
	to,
	`/* Made by schema.mjs from reports/FORMAT.md: change it there. */\n\n${blocks.join('\n')}\n` +
		'export const COLUMN_TYPES = {\n' +
		columns.map(([name, type]) => `\t'${name}': '${type}',\n`).join('') +
		'} as const;\n',
);
